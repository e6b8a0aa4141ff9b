using System.Globalization;
using System.Security.Cryptography;
using Npgsql;

namespace Crm.Runner.Backups;

/// <summary>A folder with one dump a database, all of one <see cref="ConsistentCut"/>, and a manifest.</summary>
internal static class Backup
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Whole under its name, or not there: it is made beside, and renamed.</summary>
    /// <exception cref="RunnerException">The folder is there, or no cut could be taken.</exception>
    public static async Task<BackupManifest> TakeAsync(Platform platform, string folder, Action<string, string> progress, CancellationToken ct)
    {
        if (platform.RabbitMq is null)
            throw new RunnerException("Only a private RabbitMQ can be backed up from here: whether queues are empty is asked of rabbitmqctl.", "Run this where the broker runs, without CRM_RABBITMQ.");
        if (Directory.Exists(folder) || File.Exists(folder))
            throw new RunnerException($"{folder} is there already.", "Name a new folder.");
        var unfinished = folder.TrimEnd('/') + ".unfinished";
        if (Directory.Exists(unfinished))
            Directory.Delete(unfinished, recursive: true);
        Directory.CreateDirectory(unfinished, OwnerOnly);

        await using var cut = await ConsistentCut.TakeAsync(platform, ct);
        progress("cut", string.Create(CultureInfo.InvariantCulture, $"one state of {cut.Snapshots.Count} databases: events waited {cut.RelaysHeld.TotalMilliseconds:0} ms, writes {cut.WritesHeld.TotalMilliseconds:0} ms"));
        try
        {
            var databases = new List<DatabaseBackup>();
            foreach (var (service, snapshot) in cut.Snapshots)
            {
                databases.Add(await DumpAsync(platform, service, snapshot, unfinished, ct));
                progress(service, string.Create(CultureInfo.InvariantCulture, $"{databases[^1].Tables.Values.Sum(t => t.Rows):n0} rows of {databases[^1].Tables.Count} tables, {databases[^1].Bytes / 1024.0:n0} KB"));
            }

            var manifest = new BackupManifest(
                BackupManifest.CurrentFormat, cut.TakenAt, cut.Snapshots.Values.First().Connection.PostgreSqlVersion.ToString(),
                cut.RelaysHeld.TotalSeconds, cut.WritesHeld.TotalSeconds, databases);
            await manifest.WriteAsync(unfinished, ct);
            Directory.Move(unfinished, folder);
            return manifest;
        }
        catch (NpgsqlException e)
        {
            throw new RunnerException($"No backup: a database went away while it was written ({e.Message}).", "Run it again.");
        }
    }

    private static async Task<DatabaseBackup> DumpAsync(Platform platform, string service, ConsistentCut.Snapshot snapshot, string folder, CancellationToken ct)
    {
        var database = platform.Topology[service].Database;
        var file = Path.Combine(folder, database + ".dump");
        var dump = PostgresTool.RunAsync("pg_dump", await platform.ConnectionStringAsync(service), ["--snapshot", snapshot.Id, "--format=custom", "--no-owner", "--no-privileges", "--file", file], ct);
        var tables = await DatabaseContents.ReadAsync(snapshot.Connection, ct);
        await dump;
        return new DatabaseBackup(service, database, Path.GetFileName(file), new FileInfo(file).Length, await Sha256Async(file, ct), tables);
    }

    public static async Task<string> Sha256Async(string file, CancellationToken ct)
    {
        await using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, ct));
    }
}

/// <summary>PostgreSQL's own programs against the database of a connection string; its password is in the environment, which others cannot read.</summary>
internal static class PostgresTool
{
    public static async Task RunAsync(string program, string connectionString, IReadOnlyList<string> arguments, CancellationToken ct)
    {
        var server = new NpgsqlConnectionStringBuilder(connectionString);
        var environment = new Dictionary<string, string?>
        {
            ["PGHOST"] = server.Host,
            ["PGPORT"] = server.Port.ToString(CultureInfo.InvariantCulture),
            ["PGUSER"] = server.Username,
            ["PGPASSWORD"] = server.Password,
            ["PGOPTIONS"] = "",
        };
        var result = await Shell.RunAsync([PrivatePostgres.Program(program), "--dbname", server.Database!, "--no-password", .. arguments], environment, ct: ct);
        if (result.ExitCode != 0)
            throw new RunnerException($"{program} of {server.Database} failed:\n{result.Output}", "");
    }
}
