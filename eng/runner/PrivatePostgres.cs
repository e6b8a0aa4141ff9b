using System.Diagnostics;
using System.Globalization;

namespace Crm.Runner;

/// <summary>A PostgreSQL cluster of its own on loopback, apart from the system's.</summary>
public sealed class PrivatePostgres : PostgresServer
{
    private readonly string _data;

    private PrivatePostgres(PostgresOptions options)
        : base(options) => _data = Path.Combine(options.Folder, "data");

    /// <summary>Starts the cluster, made on the first call; one that already runs in the folder is taken over.</summary>
    public static async Task<PrivatePostgres> StartAsync(PostgresOptions options, CancellationToken ct = default)
    {
        var postgres = new PrivatePostgres(options);
        if (postgres.FindRunning() is { } running)
        {
            options.Installation?.Record(running);
            postgres.Process = running;
            await postgres.WaitUntilAnsweringAsync(ct);
        }
        else
        {
            await postgres.StartAgainAsync(ct);
        }

        return postgres;
    }

    /// <summary>The postmaster that runs on the folder's data, if any.</summary>
    public static OwnedProcess? FindRunning(string folder) => FindPostmaster(Path.Combine(folder, "data"), null);

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

    public override async ValueTask DisposeAsync()
    {
        await Process.KillAsync();
        GC.SuppressFinalize(this);
    }

    protected override async Task<IServerProcess> LaunchAsync(CancellationToken ct)
    {
        await InitializeAsync(ct);
        // kill -9 leaves the file behind; PostgreSQL would take a re-used id for a running postmaster.
        if (File.Exists(PidFile) && FindRunning() is null)
            File.Delete(PidFile);
        await WaitForRestAsync(ct);

        var process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "postgres",
            Command = [Program("postgres"), "-D", _data, .. Settings.Append("unix_socket_directories=").SelectMany(s => new[] { "-c", s })],
            LogFile = Options.LogFile,
            User = ServerUser(),
            EndWithCaller = Options.EndWithCaller,
            Environment = new Dictionary<string, string?> { ["PGDATA"] = null, ["PGPORT"] = null, ["PGHOST"] = null },
        });
        Options.Installation?.Record(process);
        return process;
    }

    /// <summary>Backends whose postmaster was killed end a moment later; until then their shared memory keeps a new one from starting.</summary>
    private async Task WaitForRestAsync(CancellationToken ct)
    {
        var data = Path.GetFullPath(_data);
        for (var start = Stopwatch.GetTimestamp(); Directory.EnumerateDirectories("/proc").Any(WorksThere) && Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(30);)
            await Task.Delay(20, ct);

        bool WorksThere(string process)
        {
            try
            {
                return char.IsAsciiDigit(Path.GetFileName(process)[0]) && new DirectoryInfo(Path.Combine(process, "cwd")).LinkTarget == data;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return false;
            }
        }
    }

    private string PidFile => Path.Combine(_data, "postmaster.pid");

    private OwnedProcess? FindRunning() => FindPostmaster(_data, Options.LogFile);

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
        var passwordFile = Path.Combine(Options.Folder, "password.unfinished");
        if (Directory.Exists(unfinished))
            Directory.Delete(unfinished, recursive: true);
        Directory.CreateDirectory(Options.Folder);
        await SecretFile.WriteAsync(passwordFile, Options.Password);
        if (ServerUser() is { } user)
            Shell.Require(["chown", "-R", $"{user}:", Options.Folder]);
        try
        {
            var made = await Shell.RunAsync(
                [
                    .. OwnedProcess.AsUser(ServerUser()), Program("initdb"), "-D", unfinished, "-U", Superuser, "--pwfile", passwordFile,
                    "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", .. Options.Durable ? Array.Empty<string>() : ["--no-sync"],
                ],
                ct: ct);
            if (made.ExitCode != 0)
                throw new RunnerException($"initdb failed:\n{made.Output}", $"Look at {Options.Folder}: space and rights.");
            Directory.Move(unfinished, _data);
        }
        finally
        {
            File.Delete(passwordFile);
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
