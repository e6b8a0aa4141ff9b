using System.Globalization;
using Npgsql;

namespace Crm.Runner.Backups;

/// <summary>Puts a backup back: beside the databases that are there, compared row by row, and only then in their place.</summary>
internal static class Restore
{
    private const string Beside = "_restoring";

    /// <summary>Every service stands; PostgreSQL and RabbitMQ run.</summary>
    /// <param name="overwrite">Databases with something in them are replaced, not refused.</param>
    /// <exception cref="RunnerException">Nothing was changed, or, once the databases are being replaced, the same command goes on.</exception>
    public static async Task<BackupManifest> RunAsync(Platform platform, string folder, bool overwrite, Action<string, string> progress, CancellationToken ct)
    {
        var manifest = await BackupManifest.ReadAsync(folder, ct);
        await VerifyAsync(platform.Topology, manifest, folder, ct);
        progress("backup", string.Create(CultureInfo.InvariantCulture, $"of {manifest.TakenAt:u}, whole"));
        if (!overwrite)
            await RefuseOverwriteAsync(platform, manifest, ct);

        await platform.CreateDatabasesAsync(ct);
        var erased = await ErasedAsync(platform, ct);
        await FillAsync(platform, manifest, folder, Beside, progress, ct);
        var marker = UnfinishedFile(platform.Folder);
        await File.WriteAllTextAsync(marker, $"{folder}\n", ct);
        await using (var server = await OpenAsync(platform.SuperuserConnectionString, ct))
        {
            foreach (var database in manifest.Databases.Select(d => d.Database))
            {
                await ExecuteAsync(server, $"DROP DATABASE IF EXISTS {Quote(database)} WITH (FORCE)", ct);
                await ExecuteAsync(server, $"ALTER DATABASE {Quote(database + Beside)} RENAME TO {Quote(database)}", ct);
            }
        }

        // Sessions of this process to the databases that are gone.
        NpgsqlConnection.ClearAllPools();
        await platform.WriteConnectionsAsync();
        foreach (var service in platform.Services.Values)
        {
            // A backup of an earlier version is brought up to this one first.
            foreach (var mode in (string[])["--migrate", "--after-restore"])
            {
                var result = await service.RunModeAsync([mode], ct);
                if (result.ExitCode != 0)
                    throw new RunnerException($"{mode} of {service.Name} failed:\n{result.Output}", "Run the same command again, with --overwrite.");
                if (result.Output.Trim() is { Length: > 0 } said)
                    progress(service.Name, said);
            }
        }

        File.Delete(marker);
        await TellErasedAsync(platform, erased, progress, ct);
        return manifest;
    }

    /// <summary>Restores into databases beside the running ones, compares them with what was backed up, and drops them.</summary>
    public static async Task DrillAsync(Platform platform, string folder, Action<string, string> progress, CancellationToken ct)
    {
        const string drill = "_drill";
        var manifest = await BackupManifest.ReadAsync(folder, ct);
        await VerifyAsync(platform.Topology, manifest, folder, ct);
        try
        {
            await FillAsync(platform, manifest, folder, drill, progress, ct);
        }
        finally
        {
            await using var server = await OpenAsync(platform.SuperuserConnectionString, CancellationToken.None);
            foreach (var database in manifest.Databases)
                await ExecuteAsync(server, $"DROP DATABASE IF EXISTS {Quote(database.Database + drill)} WITH (FORCE)", CancellationToken.None);
        }
    }

    /// <summary>There while databases are replaced: services must not start on some that are new and some that are old.</summary>
    public static string UnfinishedFile(string platformFolder) => Path.Combine(platformFolder, "restore.unfinished");

    private static async Task VerifyAsync(Topology topology, BackupManifest manifest, string folder, CancellationToken ct)
    {
        var services = topology.Services.Select(s => s.Name).ToHashSet();
        if (!services.SetEquals(manifest.Databases.Select(d => d.Service)))
            throw new RunnerException($"The backup has {string.Join(", ", manifest.Databases.Select(d => d.Service))}; this platform is {string.Join(", ", services)}.", "All databases are restored together, or none. Nothing was changed.");
        foreach (var database in manifest.Databases)
        {
            var file = Path.Combine(folder, Path.GetFileName(database.File));
            if (!File.Exists(file) || await Backup.Sha256Async(file, ct) != database.Sha256)
                throw new RunnerException($"{file} is missing or is not what was backed up (SHA-256).", "The backup is damaged; use another one. Nothing was changed.");
        }
    }

    private static async Task RefuseOverwriteAsync(Platform platform, BackupManifest manifest, CancellationToken ct)
    {
        await using var server = await OpenAsync(platform.SuperuserConnectionString, ct);
        var used = new List<string>();
        foreach (var database in manifest.Databases)
        {
            await using var exists = new NpgsqlCommand("SELECT 1 FROM pg_database WHERE datname = $1", server) { Parameters = { new() { Value = database.Database } } };
            if (await exists.ExecuteScalarAsync(ct) is null)
                continue;
            await using var connection = await OpenAsync(Of(platform.SuperuserConnectionString, database.Database), ct);
            if ((await DatabaseContents.TablesAsync(connection, ct)).Count > 0)
                used.Add(database.Database);
        }

        if (used.Count > 0)
            throw new RunnerException($"Not empty: {string.Join(", ", used)}.", "--overwrite replaces what is in them. Nothing was changed.");
    }

    private static async Task FillAsync(Platform platform, BackupManifest manifest, string folder, string suffix, Action<string, string> progress, CancellationToken ct)
    {
        await using var server = await OpenAsync(platform.SuperuserConnectionString, ct);
        var differences = new List<string>();
        foreach (var database in manifest.Databases)
        {
            var name = database.Database + suffix;
            await ExecuteAsync(server, $"DROP DATABASE IF EXISTS {Quote(name)} WITH (FORCE)", ct);
            await ExecuteAsync(server, $"CREATE DATABASE {Quote(name)} OWNER {Quote(database.Database)} TEMPLATE template0", ct);
            await ExecuteAsync(server, $"REVOKE CONNECT ON DATABASE {Quote(name)} FROM PUBLIC", ct);
            var owner = Of(await platform.ConnectionStringAsync(database.Service), name);
            await PostgresTool.RunAsync("pg_restore", owner, ["--exit-on-error", "--no-owner", "--no-privileges", "--single-transaction", Path.Combine(folder, Path.GetFileName(database.File))], ct);
            await using var connection = await OpenAsync(owner, ct);
            var found = DatabaseContents.Compare(database.Database, database.Tables, await DatabaseContents.ReadAsync(connection, ct)).ToList();
            await ExecuteAsync(connection, "ANALYZE", ct);
            differences.AddRange(found);
            progress(database.Service, found.Count == 0 ? string.Create(CultureInfo.InvariantCulture, $"{database.Tables.Count} tables, each with the rows of the backup") : $"{found.Count} tables differ");
        }

        if (differences.Count > 0)
            throw new RunnerException($"What was restored is not what was backed up:\n{string.Join('\n', differences)}", "Nothing was replaced.");
    }

    /// <summary>Whom the database that is about to be replaced knows as erased; none when it cannot tell.</summary>
    private static async Task<HashSet<string>> ErasedAsync(Platform platform, CancellationToken ct)
    {
        await using var contacts = await OpenAsync(await platform.ConnectionStringAsync("contacts"), ct);
        await using var exists = new NpgsqlCommand("SELECT to_regclass('public.erased_record') IS NOT NULL", contacts);
        if (await exists.ExecuteScalarAsync(ct) is not true)
            return [];
        await using var command = new NpgsqlCommand("SELECT id FROM erased_record WHERE id LIKE 'cus\\_%'", contacts);
        await using var reader = await command.ExecuteReaderAsync(ct);
        var ids = new HashSet<string>();
        while (await reader.ReadAsync(ct))
            ids.Add(reader.GetString(0));
        return ids;
    }

    private static async Task TellErasedAsync(Platform platform, HashSet<string> before, Action<string, string> progress, CancellationToken ct)
    {
        before.ExceptWith(await ErasedAsync(platform, ct));
        if (before.Count == 0)
            return;
        var file = Path.Combine(platform.Folder, "erased-since-backup.txt");
        await File.WriteAllLinesAsync(file, before.Order(StringComparer.Ordinal), ct);
        progress("erasures", $"{before.Count} customers were erased after the backup and are back: erase them again. Their ids are in {file}");
    }

    private static string Of(string connectionString, string database) => new NpgsqlConnectionStringBuilder(connectionString) { Database = database }.ConnectionString;

    private static string Quote(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private static async Task<NpgsqlConnection> OpenAsync(string connectionString, CancellationToken ct)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false, CommandTimeout = 0 }.ConnectionString);
        await connection.OpenAsync(ct);
        return connection;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
#pragma warning disable CA2100 // DDL takes no parameters; names are those of tye.yaml and quoted
        await using var command = new NpgsqlCommand(sql, connection);
#pragma warning restore CA2100
        await command.ExecuteNonQueryAsync(ct);
    }
}
