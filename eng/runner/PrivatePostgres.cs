using System.Diagnostics;
using System.Globalization;
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
}

/// <summary>A PostgreSQL cluster of its own on loopback, apart from the system's.</summary>
public sealed class PrivatePostgres : IAsyncDisposable
{
    private const string Superuser = "crm_superuser";

    private readonly PostgresOptions _options;
    private readonly string _data;

    private PrivatePostgres(PostgresOptions options)
    {
        _options = options;
        _data = Path.Combine(options.Folder, "data");
    }

    public int Port => _options.Port;

    public OwnedProcess Process { get; private set; } = null!;

    public string ConnectionString => ConnectionStringFor("postgres", Superuser, _options.Password);

    /// <summary>Starts the cluster, made on the first call; one that already runs in the folder is taken over.</summary>
    public static async Task<PrivatePostgres> StartAsync(PostgresOptions options, CancellationToken ct = default)
    {
        if (options.Port == 0)
            options = options with { Port = FreePort.Next() };
        var postgres = new PrivatePostgres(options);
        if (postgres.FindRunning() is { } running)
        {
            postgres.Process = running;
            await postgres.WaitUntilAnsweringAsync(ct);
        }
        else
        {
            await postgres.InitializeAsync(ct);
            await postgres.StartAgainAsync(ct);
        }

        return postgres;
    }

    /// <summary>The postmaster that runs on the folder's data, if any.</summary>
    public static OwnedProcess? FindRunning(string folder) => FindPostmaster(Path.Combine(folder, "data"), null);

    /// <summary>kill -9 of the postmaster and of every backend.</summary>
    public Task KillAsync() => Process.KillAsync();

    /// <summary>After <see cref="KillAsync"/> or <see cref="StopAsync"/>: the same data on the same port.</summary>
    public async Task StartAgainAsync(CancellationToken ct = default)
    {
        var settings = new List<string>
        {
            $"port={_options.Port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=400",
            "password_encryption=scram-sha-256", "log_line_prefix=%m [%p] %q%d ", "timezone=UTC", "log_timezone=UTC",
            // A checkpoint each gigabyte would write every page anew while an import runs.
            "max_wal_size=4GB",
        };
        if (!_options.Durable)
        {
            // Only what the loss of the machine would show. synchronous_commit=off keeps commits in the server's own memory,
            // and without full_page_writes a page that kill -9 cut in half stays so.
            settings.Add("fsync=off");
        }


        // kill -9 leaves the file behind; PostgreSQL would take a re-used id for a running postmaster.
        if (File.Exists(PidFile) && FindRunning() is null)
            File.Delete(PidFile);

        Process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "postgres",
            Command = [Program("postgres"), "-D", _data, .. settings.SelectMany(s => new[] { "-c", s })],
            LogFile = _options.LogFile,
            User = ServerUser(),
            EndWithCaller = _options.EndWithCaller,
            Environment = new Dictionary<string, string?> { ["PGDATA"] = null, ["PGPORT"] = null, ["PGHOST"] = null },
        });
        await WaitUntilAnsweringAsync(ct);
    }

    public async Task RestartAsync(CancellationToken ct = default)
    {
        await StopAsync();
        await StartAgainAsync(ct);
    }

    /// <summary>As pg_ctl stop -m fast: sessions are cut, data is flushed.</summary>
    public Task<bool> StopAsync() => StopAsync(Process);

    public static Task<bool> StopAsync(OwnedProcess postmaster) => postmaster.StopAsync(TimeSpan.FromSeconds(30), interrupt: true);

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
        Port = _options.Port,
        Database = database,
        Username = user,
        Password = password,
    }.ConnectionString;

    /// <summary>Throws with a remedy unless PostgreSQL's programs are here.</summary>
    public static void RequireInstalled() => _ = Program("postgres");

    /// <summary>
    /// PostgreSQL does not run as root. Then its data belong to the user "postgres", who must be able to reach the folder:
    /// under a closed home directory another place is taken.
    /// </summary>
    public static string ReachableFolder(string folder)
    {
        if (ServerUser() is not { } user)
            return folder;
        Directory.CreateDirectory(folder);
        var parent = Path.GetDirectoryName(Path.GetFullPath(folder))!;
        if (Shell.Run([.. OwnedProcess.AsUser(user), "test", "-x", parent]).ExitCode == 0)
            return folder;
        return Path.Combine("/var/tmp", "crm-" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(folder)))[..12], "postgres");
    }

    public async ValueTask DisposeAsync()
    {
        await Process.KillAsync();
        GC.SuppressFinalize(this);
    }

    private string PidFile => Path.Combine(_data, "postmaster.pid");

    private OwnedProcess? FindRunning() => FindPostmaster(_data, _options.LogFile);

    private static OwnedProcess? FindPostmaster(string data, string? logFile)
    {
        var file = Path.Combine(data, "postmaster.pid");
        if (!File.Exists(file) || !int.TryParse(File.ReadLines(file).FirstOrDefault(), CultureInfo.InvariantCulture, out var pid))
            return null;
        try
        {
            // A postmaster works in its data folder: a process with a re-used id does not.
            return new DirectoryInfo($"/proc/{pid}/cwd").LinkTarget == Path.GetFullPath(data) && OwnedProcess.StartOf(pid) is { } ticks
                ? OwnedProcess.Find("postgres", pid, ticks, logFile)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private async Task InitializeAsync(CancellationToken ct)
    {
        if (Directory.Exists(_data))
            return;

        // Made beside and renamed: an interrupted initdb leaves nothing that looks like a cluster.
        var unfinished = _data + ".unfinished";
        var passwordFile = Path.Combine(_options.Folder, "password.unfinished");
        if (Directory.Exists(unfinished))
            Directory.Delete(unfinished, recursive: true);
        Directory.CreateDirectory(_options.Folder);
        await SecretFile.WriteAsync(passwordFile, _options.Password);
        if (ServerUser() is { } user)
            Shell.Require(["chown", "-R", $"{user}:", _options.Folder]);
        try
        {
            var made = await Shell.RunAsync(
                [
                    .. OwnedProcess.AsUser(ServerUser()), Program("initdb"), "-D", unfinished, "-U", Superuser, "--pwfile", passwordFile,
                    "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", .. _options.Durable ? Array.Empty<string>() : ["--no-sync"],
                ],
                ct: ct);
            if (made.ExitCode != 0)
                throw new RunnerException($"initdb failed:\n{made.Output}", $"Look at {_options.Folder}: space and rights.");
            Directory.Move(unfinished, _data);
        }
        finally
        {
            File.Delete(passwordFile);
        }
    }

    private async Task WaitUntilAnsweringAsync(CancellationToken ct)
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
                if (!Process.IsAlive)
                    throw new RunnerException($"PostgreSQL ended while starting:\n{Process.LogTail(15)}", $"The whole log is {_options.LogFile}.");
                if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(60))
                    throw new RunnerException($"PostgreSQL does not answer on port {_options.Port} after 60 s: {e.Message}", $"The log is {_options.LogFile}.");
                await Task.Delay(50, ct);
            }
        }
    }

    private static string? ServerUser() => Environment.UserName == "root" ? "postgres" : null;

    /// <summary>The newest PostgreSQL of Debian's layout, else the one on the path.</summary>
    public static string Program(string name)
    {
        const string debian = "/usr/lib/postgresql";
        if (Directory.Exists(debian))
        {
            var newest = Directory.EnumerateDirectories(debian)
                .Where(d => int.TryParse(Path.GetFileName(d), CultureInfo.InvariantCulture, out var version) && version >= 15 && File.Exists(Path.Combine(d, "bin", name)))
                .MaxBy(d => int.Parse(Path.GetFileName(d), CultureInfo.InvariantCulture));
            if (newest is not null)
                return Path.Combine(newest, "bin", name);
        }

        return (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(p => Path.Combine(p, name)).FirstOrDefault(File.Exists)
            ?? throw new RunnerException("PostgreSQL 15 or later is not installed.", "Run ./crm up or ./crm test, which install it, or: apt-get install postgresql");
    }
}
