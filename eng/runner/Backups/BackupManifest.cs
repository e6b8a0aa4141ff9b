using System.Text.Json;

namespace Crm.Runner.Backups;

/// <param name="Sum">Of the 64-bit hashes of all rows as text: the same rows in any order give the same.</param>
internal sealed record TableContents(long Rows, string Sum);

/// <param name="Sha256">Of the file, lower-case hex.</param>
internal sealed record DatabaseBackup(string Service, string Database, string File, long Bytes, string Sha256, IReadOnlyDictionary<string, TableContents> Tables);

/// <summary>manifest.json of a backup: what must be in it.</summary>
internal sealed record BackupManifest(
    int Format, DateTimeOffset TakenAt, string PostgreSql, double RelaysHeldSeconds, double WritesHeldSeconds, IReadOnlyList<DatabaseBackup> Databases)
{
    public const int CurrentFormat = 1;

    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static string FileOf(string folder) => Path.Combine(folder, "manifest.json");

    /// <exception cref="RunnerException">It is no backup, or one of a later version.</exception>
    public static async Task<BackupManifest> ReadAsync(string folder, CancellationToken ct)
    {
        if (!File.Exists(FileOf(folder)))
            throw new RunnerException($"{folder} is not a backup: it has no manifest.json.", "Name a folder that ./crm backup made. One whose name ends in .unfinished was interrupted.");
        try
        {
            var manifest = JsonSerializer.Deserialize<BackupManifest>(await File.ReadAllTextAsync(FileOf(folder), ct), Json);
            return manifest is { Format: CurrentFormat, Databases.Count: > 0 }
                ? manifest
                : throw new RunnerException($"{FileOf(folder)} has format {manifest?.Format}; this program reads {CurrentFormat}.", "Restore it with the version that made it.");
        }
        catch (JsonException e)
        {
            throw new RunnerException($"{FileOf(folder)} cannot be read: {e.Message}", "The backup is damaged; take another one.");
        }
    }

    public Task WriteAsync(string folder, CancellationToken ct) => File.WriteAllTextAsync(FileOf(folder), JsonSerializer.Serialize(this, Json) + "\n", ct);
}
