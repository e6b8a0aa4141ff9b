using System.Diagnostics;
using Npgsql;

namespace Crm.Runner;

public sealed record PostgresOptions
{
    public required string Folder { get; init; }

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; }

    public required string LogFile { get; init; }

    public required string Password { get; init; }

    /// <summary>False in tests: nothing is flushed to disk. Survives kill -9 of the processes, not the loss of the machine.</summary>
    public bool Durable { get; init; } = true;

    public bool EndWithCaller { get; init; }

    /// <summary>Whose process it is: recorded as soon as it is started.</summary>
    public Installation? Installation { get; init; }
}

/// <summary>A PostgreSQL server of one's own on loopback, whatever it runs as.</summary>
public abstract class PostgresServer : OwnServer
{
    protected const string Superuser = "crm_superuser";

    protected PostgresServer(PostgresOptions options) => Options = options.Port == 0 ? options with { Port = FreePort.Next() } : options;

    public int Port => Options.Port;

    public string ConnectionString => ConnectionStringFor("postgres", Superuser, Options.Password);

    protected PostgresOptions Options { get; }

    /// <summary>What the server is told on its command line.</summary>
    protected IEnumerable<string> Settings
    {
        get
        {
            List<string> settings =
            [
                $"port={Options.Port}", "listen_addresses=127.0.0.1", "max_connections=400",
                "password_encryption=scram-sha-256", "log_line_prefix=%m [%p] %q%d ", "timezone=UTC", "log_timezone=UTC",
                // A checkpoint each gigabyte would write every page anew while an import runs.
                "max_wal_size=4GB",
            ];
            if (!Options.Durable)
            {
                // Only what the loss of the machine would show. synchronous_commit=off keeps commits in the server's own memory,
                // and without full_page_writes a page that kill -9 cut in half stays so.
                settings.Add("fsync=off");
            }

            return settings;
        }
    }

    /// <summary>As pg_ctl stop -m fast: sessions are cut, data is flushed.</summary>
    public override Task<bool> StopAsync() => StopAsync(Process);

    public static Task<bool> StopAsync(IServerProcess postmaster) => postmaster.StopAsync(TimeSpan.FromSeconds(30), interrupt: true);

    /// <summary>A database and the role that owns it; both stay as they are when they exist. Nobody else may connect to it.</summary>
    /// <returns>The owner's connection string.</returns>
    public async Task<string> CreateDatabaseAsync(string name, string password, CancellationToken ct = default)
    {
        await CreateDatabaseAsync(ConnectionString, name, password, ct);
        return ConnectionStringFor(name, name, password);
    }

    public static async Task CreateDatabaseAsync(string superuser, string name, string password, CancellationToken ct = default)
    {
        // Not pooled: a connection from before a kill -9 must not be handed out.
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(superuser) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(ct);
        var quoted = $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
        if (!await ExistsAsync("SELECT 1 FROM pg_roles WHERE rolname = $1"))
            await ExecuteAsync($"CREATE ROLE {quoted} LOGIN");
        await ExecuteAsync($"ALTER ROLE {quoted} PASSWORD '{password.Replace("'", "''", StringComparison.Ordinal)}'");
        if (!await ExistsAsync("SELECT 1 FROM pg_database WHERE datname = $1"))
        {
            // An owner who is not a superuser's member cannot be given a database on a managed server.
            await ExecuteAsync($"GRANT {quoted} TO CURRENT_USER");
            await ExecuteAsync($"CREATE DATABASE {quoted} OWNER {quoted}");
            await ExecuteAsync($"REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC");
        }

        async Task<bool> ExistsAsync(string query)
        {
            await using var command = new NpgsqlCommand(query, connection) { Parameters = { new() { Value = name } } };
            return await command.ExecuteScalarAsync(ct) is not null;
        }

        async Task ExecuteAsync(string statement)
        {
#pragma warning disable CA2100 // DDL takes no parameters; names are those of tye.yaml and quoted
            await using var command = new NpgsqlCommand(statement, connection);
#pragma warning restore CA2100
            await command.ExecuteNonQueryAsync(ct);
        }
    }

    public string ConnectionStringFor(string database, string user, string password) => new NpgsqlConnectionStringBuilder
    {
        Host = "127.0.0.1",
        Port = Options.Port,
        Database = database,
        Username = user,
        Password = password,
    }.ConnectionString;

    protected internal override async Task WaitUntilAnsweringAsync(CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        var probe = new NpgsqlConnectionStringBuilder(ConnectionString) { Pooling = false, Timeout = 5 }.ConnectionString;
        while (true)
        {
            try
            {
                await using var connection = new NpgsqlConnection(probe);
                await connection.OpenAsync(ct);
                return;
            }
            catch (NpgsqlException e) when (e is not PostgresException { SqlState: PostgresErrorCodes.InvalidPassword })
            {
                if (!await Process.IsAliveAsync())
                    throw new RunnerException($"PostgreSQL ended while starting:\n{OwnedProcess.TailOf(Options.LogFile, 15)}", $"The whole log is {Options.LogFile}.");
                if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(60))
                    throw new RunnerException($"PostgreSQL does not answer on port {Options.Port} after 60 s: {e.Message}", $"The log is {Options.LogFile}.");
                await Task.Delay(50, ct);
            }
        }
    }
}
