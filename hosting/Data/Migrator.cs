using System.Net.Sockets;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>A set of embedded <c>Migrations/*.sql</c>; modules are applied in order, each file once, in order of name.</summary>
public sealed record MigrationModule(string Name, Assembly Assembly);

/// <summary>
/// Applies SQL migrations forward only, one transaction each, under an advisory lock; a file that was
/// applied and then edited is an error. Killed half-way, the next run continues.
/// </summary>
internal sealed partial class Migrator(
    NpgsqlDataSource dataSource, IEnumerable<MigrationModule> modules, IOptions<DatabaseOptions> options, TimeProvider clock, ILogger<Migrator> logger)
{
    private const long LockKey = 0x43524D_4D4947; // "CRMMIG"

    /// <summary>How often a migration is begun that finds a table in use.</summary>
    private const int Attempts = 60;

    /// <summary>Between two of them: what waited behind the migration has its turn.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>Between two lines that say that the server does not answer.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(5);

    /// <summary>Waits for a server that is not there yet; whatever else is wrong ends it at once.</summary>
    public async Task ApplyAsync(CancellationToken ct)
    {
        await using var connection = await OpenAsync(ct);
        await ExecuteAsync(connection, """
            SELECT pg_advisory_lock(@key)
            """, ct, new NpgsqlParameter<long>("key", LockKey));
        await ExecuteAsync(connection, """
            CREATE TABLE IF NOT EXISTS schema_migration (
                module text NOT NULL, name text NOT NULL, checksum text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (module, name))
            """, ct);
        foreach (var migration in await PendingAsync(connection, ct))
        {
            await ApplyAsync(connection, migration, ct);
            LogApplied(migration.Module, migration.Name);
        }

        await ExecuteAsync(connection, "SELECT pg_advisory_unlock(@key)", ct, new NpgsqlParameter<long>("key", LockKey));
    }

    /// <summary>True when every migration of this build is in the database.</summary>
    public async Task<bool> IsCurrentAsync(CancellationToken ct) => (await FindMissingAsync(ct)).Count == 0;

    /// <summary>The migrations of this build that are not in the database, as module/name.</summary>
    public async Task<IReadOnlyList<string>> FindMissingAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        return [.. (await PendingAsync(connection, ct)).Select(m => $"{m.Module}/{m.Name}")];
    }

    /// <summary>
    /// Nobody waits long for a migration: a statement that changes a table waits for whoever uses it, and everybody who comes
    /// after waits behind the statement. After two seconds it lets them pass, and comes again.
    /// </summary>
    private async Task ApplyAsync(NpgsqlConnection connection, Migration migration, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await using var transaction = await connection.BeginTransactionAsync(ct);
                await ExecuteAsync(connection, "SET LOCAL lock_timeout = '2s'", ct);
                await ExecuteAsync(connection, migration.Sql, ct);
                await ExecuteAsync(connection, "INSERT INTO schema_migration (module, name, checksum) VALUES (@module, @name, @checksum)", ct,
                    new NpgsqlParameter<string>("module", migration.Module),
                    new NpgsqlParameter<string>("name", migration.Name),
                    new NpgsqlParameter<string>("checksum", migration.Checksum));
                await transaction.CommitAsync(ct);
                return;
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable && attempt < Attempts)
            {
                LogTableInUse(migration.Module, migration.Name);
                await Task.Delay(Pause, clock, ct);
            }
            catch (PostgresException e)
            {
                throw SchemaException.Failed($"{migration.Module}/{migration.Name}", e);
            }
        }
    }

    /// <summary>
    /// A pod begins with its migrations, often before its database does. One that ended would be begun again later each time,
    /// up to five minutes after the database is there.
    /// </summary>
    private async Task<NpgsqlConnection> OpenAsync(CancellationToken ct)
    {
        var wait = TimeSpan.FromSeconds(options.Value.MigrationWaitSeconds);
        var started = clock.GetTimestamp();
        TimeSpan? said = null;
        using var quiet = QuietWork.Begin();
        while (true)
        {
            try
            {
                return await dataSource.OpenConnectionAsync(ct);
            }
            catch (Exception exception) when (IsAway(exception) && clock.GetElapsedTime(started) < wait)
            {
                var waited = clock.GetElapsedTime(started);
                if (said is null || waited - said >= Silence)
                {
                    LogDatabaseAway((int)waited.TotalSeconds, (int)wait.TotalSeconds, exception.Message);
                    said = waited;
                }
            }

            await Task.Delay(Pause, clock, ct);
        }
    }

    /// <summary>Refused, no such host or no way there, no answer in time, ended while it was made; or the server says that it starts, stops or is full.</summary>
    private static bool IsAway(Exception exception) => exception switch
    {
        PostgresException e => e.SqlState is PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown
            or PostgresErrorCodes.TooManyConnections,
        NpgsqlException { InnerException: SocketException or TimeoutException or IOException } or SocketException or TimeoutException => true,
        _ => false,
    };

    private async Task<IReadOnlyList<Migration>> PendingAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        var comparison = await CompareAsync(connection, ct);
        return comparison.Edited is [var edited, ..] ? throw SchemaException.Edited(edited) : comparison.Pending;
    }

    /// <summary>This build's migrations and the database's, which may have none yet.</summary>
    internal async Task<Comparison> CompareAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        var all = modules.SelectMany(Read).ToList();
        await using (var exists = new NpgsqlCommand("SELECT to_regclass('schema_migration') IS NOT NULL", connection))
        {
            if (await exists.ExecuteScalarAsync(ct) is not true)
            {
                return new(all, [], [], all);
            }
        }

        var applied = new Dictionary<(string Module, string Name), string>();
        await using (var command = new NpgsqlCommand("SELECT module, name, checksum FROM schema_migration", connection))
        await using (var reader = await command.ExecuteReaderAsync(ct))
        {
            while (await reader.ReadAsync(ct))
            {
                applied[(reader.GetString(0), reader.GetString(1))] = reader.GetString(2);
            }
        }

        return new(
            [.. all.Where(m => !applied.ContainsKey((m.Module, m.Name)))],
            [.. all.Where(m => applied.TryGetValue((m.Module, m.Name), out var checksum) && !string.Equals(checksum, m.Checksum, StringComparison.Ordinal)).Select(m => $"{m.Module}/{m.Name}")],
            [.. applied.Keys.Except(all.Select(m => (m.Module, m.Name))).Select(m => $"{m.Module}/{m.Name}").Order(StringComparer.Ordinal)],
            all);
    }

    private static IEnumerable<Migration> Read(MigrationModule module)
    {
        const string Marker = ".Migrations.";
        return module.Assembly.GetManifestResourceNames()
            .Where(n => n.Contains(Marker, StringComparison.Ordinal) && n.EndsWith(".sql", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(n =>
            {
                using var stream = module.Assembly.GetManifestResourceStream(n)!;
                using var reader = new StreamReader(stream, Encoding.UTF8);
                var sql = reader.ReadToEnd().ReplaceLineEndings("\n");
                var name = n[(n.IndexOf(Marker, StringComparison.Ordinal) + Marker.Length)..^".sql".Length];
                return new Migration(module.Name, name, sql, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql))));
            });
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct, params NpgsqlParameter[] parameters)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        command.Parameters.AddRange(parameters);
        await command.ExecuteNonQueryAsync(ct);
    }

    [LoggerMessage(LogLevel.Information, "Applied migration {Module}/{Name}")]
    private partial void LogApplied(string module, string name);

    [LoggerMessage(LogLevel.Warning, "Migration {Module}/{Name} waits: a table is in use")]
    private partial void LogTableInUse(string module, string name);

    [LoggerMessage(LogLevel.Warning, "The migrations wait for the database, {Seconds} of at most {Most} s until now: {Detail}")]
    private partial void LogDatabaseAway(int seconds, int most, string detail);

    internal sealed record Migration(string Module, string Name, string Sql, string Checksum);

    /// <param name="Edited">Applied, and different in this build, as module/name.</param>
    /// <param name="Unknown">Applied by a later build, as module/name.</param>
    internal sealed record Comparison(IReadOnlyList<Migration> Pending, IReadOnlyList<string> Edited, IReadOnlyList<string> Unknown, IReadOnlyList<Migration> All);
}
