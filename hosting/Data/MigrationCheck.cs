using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>
/// <c>--migrate --check</c>: which migrations are to come, what they ask of tables with rows, and what would stop them or the
/// start of the program, its settings too. Changes nothing. The result is the exit code: 1 when there is a problem.
/// </summary>
internal sealed partial class MigrationCheck(NpgsqlDataSource dataSource, Migrator migrator)
{
    /// <summary>PostgreSQL 15.</summary>
    private const int LeastVersion = 150_000;

    /// <summary>Bytes from which on work on a table is called long.</summary>
    private const long Large = 100_000_000;

    private readonly List<string> _problems = [];
    private readonly List<string> _warnings = [];

    public static async Task<int> RunAsync(IServiceProvider services, TextWriter output, CancellationToken ct)
    {
        var settings = Settings.FindProblems(services);
        MigrationCheck check;
        try
        {
            check = ActivatorUtilities.CreateInstance<MigrationCheck>(services);
        }
        catch (Exception exception) when (settings.Count > 0 && exception is (OptionsValidationException or InvalidOperationException))
        {
            // They do not say which database.
            return await EndAsync(output, [], settings);
        }

        check._problems.AddRange(settings);
        return await check.RunAsync(output, ct);
    }

    private async Task<int> RunAsync(TextWriter output, CancellationToken ct)
    {
        try
        {
            await using var connection = await dataSource.OpenConnectionAsync(ct);
            await using var transaction = await connection.BeginTransactionAsync(ct);
            await using (var only = new NpgsqlCommand("SET TRANSACTION READ ONLY", connection))
            {
                await only.ExecuteNonQueryAsync(ct);
            }

            await output.WriteLineAsync(await CheckServerAsync(connection, ct));
            var migrations = await migrator.CompareAsync(connection, ct);
            await CheckExtensionsAsync(connection, migrations.All, ct);
            await CheckOthersAsync(connection, ct);
            var relations = await RelationsAsync(connection, ct);
            foreach (var migration in migrations.Pending)
            {
                var needs = Needs(migration, relations).Distinct().ToList();
                await output.WriteLineAsync($"pending: {migration.Module}/{migration.Name}{(needs.Count == 0 ? "" : ": " + string.Join("; ", needs))}");
            }

            _problems.AddRange(migrations.Edited.Select(m => $"{m} was edited after it had been applied: this build is not a later release of what ran here"));
            if (migrations.Unknown is { Count: > 0 } unknown)
            {
                _warnings.Add($"applied by a later build: {string.Join(", ", unknown)}");
            }

            await output.WriteLineAsync($"{migrations.Pending.Count} of {migrations.All.Count} migrations are pending");
        }
        catch (NpgsqlException exception)
        {
            _problems.Add($"the database cannot be asked: {exception.Message}{(exception.InnerException is { } inner ? $" ({inner.Message})" : "")}");
        }

        return await EndAsync(output, _warnings, _problems);
    }

    private static async Task<int> EndAsync(TextWriter output, IReadOnlyList<string> warnings, IReadOnlyList<string> problems)
    {
        foreach (var line in warnings.Select(w => $"warning: {w}").Concat(problems.Select(p => $"problem: {p}")))
        {
            await output.WriteLineAsync(line);
        }

        await output.WriteLineAsync(problems.Count == 0 ? "--migrate can run" : "--migrate would fail, or the program after it");
        return problems.Count == 0 ? 0 : 1;
    }

    private async Task<string> CheckServerAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand("""
            SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_database()::text, current_user::text,
                pg_encoding_to_char(d.encoding)::text, d.datctype::text, lower('ÄÉ') = 'äé',
                pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
                coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
                (SELECT sum(numbackends)::int FROM pg_stat_database), current_setting('max_connections')::int
            FROM pg_database d WHERE d.datname = current_database()
            """, connection);
        await using var row = await command.ExecuteReaderAsync(ct);
        await row.ReadAsync(ct);
        var (encoding, locale) = (row.GetString(4), row.GetString(5));
        Require(row.GetInt32(0) >= LeastVersion, $"the server is PostgreSQL {row.GetString(1)}; 15 is the oldest that the programs run on");
        Require(encoding == "UTF8", $"the encoding of the database is {encoding}, not UTF8");
        Require(encoding != "UTF8" || row.GetBoolean(6), $"under the locale {locale} the database knows no letters beyond ASCII, so they are not found: make it with C.UTF-8");
        Require(!row.GetBoolean(7), "the server is a standby: the address is not that of the primary");
        Require(!row.GetBoolean(8), "the database is read-only (default_transaction_read_only)");
        Require(row.GetBoolean(9), $"{row.GetString(3)} may not CREATE in the schema: GRANT CREATE, or make it the owner");
        var (used, most) = (row.GetInt32(11), row.GetInt32(12));
        if (used > most * 0.9)
        {
            _warnings.Add($"{used} of {most} connections are taken; an upgrade has one pod more of each program");
        }

        return $"PostgreSQL {row.GetString(1)}, database {row.GetString(2)} as {row.GetString(3)}, {(row.GetBoolean(10) ? "TLS" : "no TLS")}, {encoding}, {locale}, {used} of {most} connections";
    }

    private async Task CheckExtensionsAsync(NpgsqlConnection connection, IReadOnlyList<Migrator.Migration> migrations, CancellationToken ct)
    {
        var names = migrations.SelectMany(m => CreateExtension().Matches(m.Sql)).Select(m => m.Groups["name"].Value).Distinct().ToArray();
        await using var command = new NpgsqlCommand("""
            SELECT w.name, a.name IS NOT NULL, a.installed_version IS NOT NULL,
                coalesce(v.trusted, false) AND has_database_privilege(current_database(), 'CREATE') OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            FROM unnest(@names) w(name)
            LEFT JOIN pg_available_extensions a ON a.name = w.name
            LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
            """, connection);
        command.Parameters.Add(new NpgsqlParameter<string[]>("names", names));
        await using var row = await command.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            var name = row.GetString(0);
            Require(row.GetBoolean(1), $"the server does not have the extension {name} (package postgresql-contrib)");
            Require(!row.GetBoolean(1) || row.GetBoolean(2) || row.GetBoolean(3), $"the extension {name} must be made by a superuser: CREATE EXTENSION {name}");
        }
    }

    /// <summary>A migration waits for transactions that are open, and has given up after three minutes.</summary>
    private async Task CheckOthersAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand("""
            SELECT 'transaction of process ' || pid, extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now() - interval '1 minute'
            UNION ALL SELECT 'prepared transaction ' || gid, extract(epoch FROM now() - prepared)::int FROM pg_prepared_xacts WHERE database = current_database()
            """, connection);
        await using var row = await command.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            _warnings.Add($"{row.GetString(0)} is open for {row.GetInt32(1)} s; a migration of a table that it uses waits for it, at most for three minutes");
        }
    }

    private static async Task<Dictionary<string, Relation>> RelationsAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        // Until a table is analysed the number of its rows is -1.
        await using var command = new NpgsqlCommand("""
            SELECT c.relname::text, c.reltuples::bigint, pg_total_relation_size(c.oid), pg_size_pretty(pg_total_relation_size(c.oid)),
                pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()
            """, connection);
        var relations = new Dictionary<string, Relation>(StringComparer.OrdinalIgnoreCase);
        await using var row = await command.ExecuteReaderAsync(ct);
        while (await row.ReadAsync(ct))
        {
            relations[row.GetString(0)] = new(row.GetString(0), row.GetInt64(1), row.GetInt64(2), row.GetString(3), row.GetBoolean(4), row.GetString(5));
        }

        return relations;
    }

    /// <summary>What statements ask of tables that are there; new ones are empty.</summary>
    private IEnumerable<string> Needs(Migrator.Migration migration, Dictionary<string, Relation> relations)
    {
        foreach (var statement in SqlStatements.Of(migration.Sql))
        {
            if (Create().Match(statement) is { Success: true } create && relations.ContainsKey(create.Groups["name"].Value))
            {
                _problems.Add($"{migration.Module}/{migration.Name} makes {create.Groups["name"].Value}, which is there already");
            }

            foreach (Match gone in Drop().Matches(statement))
            {
                relations.Remove(gone.Groups["name"].Value);
            }

            if (Code().IsMatch(statement))
            {
                yield return "runs a block of code";
            }

            if (Uses().Match(statement) is not { Success: true } uses || !relations.TryGetValue(uses.Groups["table"].Value, out var table))
            {
                continue;
            }

            if (!table.IsOwn)
            {
                _problems.Add($"{migration.Module}/{migration.Name} changes {table.Name}, which is {table.Owner}'s: ALTER TABLE {table.Name} OWNER TO the program's role");
            }

            if (Work(statement) is { } work)
            {
                yield return $"{work} {table}";
            }
        }
    }

    private static string? Work(string statement) => statement switch
    {
        _ when statement.StartsWith("UPDATE", StringComparison.OrdinalIgnoreCase) || statement.StartsWith("DELETE", StringComparison.OrdinalIgnoreCase) => "changes rows of",
        _ when statement.StartsWith("INSERT", StringComparison.OrdinalIgnoreCase) => Select().IsMatch(statement) ? "copies rows into" : null,
        _ when statement.StartsWith("CREATE", StringComparison.OrdinalIgnoreCase) => "builds an index, while nobody changes rows, on",
        _ when Rewrite().IsMatch(statement) => "rewrites, while nobody uses it,",
        _ when Scan().IsMatch(statement) => "reads through, while nobody uses it,",
        _ => null,
    };

    private void Require(bool holds, string problem)
    {
        if (!holds)
        {
            _problems.Add(problem);
        }
    }

    private sealed record Relation(string Name, long Rows, long Bytes, string Size, bool IsOwn, string Owner)
    {
        public override string ToString() =>
            $"{Name} ({(Rows < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"about {Rows:N0} rows, "))}{Size}{(Bytes >= Large ? ", long" : "")})";
    }

    [GeneratedRegex(@"\bCREATE EXTENSION (IF NOT EXISTS )?""?(?<name>\w+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex CreateExtension();

    [GeneratedRegex(@"^CREATE (TABLE|(UNIQUE )?INDEX|VIEW|SEQUENCE) (?!IF NOT EXISTS)(?<name>\w+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Create();

    [GeneratedRegex(@"\bDROP (TABLE|INDEX|VIEW|SEQUENCE|CONSTRAINT) (IF EXISTS )?(?<name>\w+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Drop();

    [GeneratedRegex(@"^(DO|CALL)\b", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Code();

    [GeneratedRegex(@"^(UPDATE|DELETE FROM|INSERT INTO|ALTER TABLE|CREATE (UNIQUE )?INDEX (IF NOT EXISTS )?\w+ ON) (IF EXISTS )?(ONLY )?(?<table>\w+)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Uses();

    [GeneratedRegex(@"\bSELECT\b.*\bFROM\b", RegexOptions.IgnoreCase, 10_000)]
    private static partial Regex Select();

    [GeneratedRegex(@"\bALTER (COLUMN )?\w+ (SET DATA )?TYPE\b|\bGENERATED ALWAYS AS (?!IDENTITY)|\bSET (UN)?LOGGED\b", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Rewrite();

    [GeneratedRegex(@"\bSET NOT NULL\b|\bADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b(?!.*\bNOT VALID\b)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Scan();
}
