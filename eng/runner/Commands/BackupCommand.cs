using System.Globalization;
using Crm.Runner.Backups;

namespace Crm.Runner.Commands;

/// <summary>A backup of all databases at one instant, while everything goes on. <c>--drill</c> restores it beside and compares.</summary>
internal static class BackupCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var drill = args.Contains("--drill");
        var names = args.Where(a => a != "--drill").ToList();
        if (names.Count > 1 || names.Exists(n => n.StartsWith("--", StringComparison.Ordinal)))
            throw new RunnerException("backup does not understand that.", "Write: ./crm backup [folder] [--drill]");

        var root = Topology.FindRoot();
        using var installation = Installation.Open(root);
        if (!installation.IsRunning("postgres") && Environment.GetEnvironmentVariable("CRM_POSTGRES") is null or "")
            throw new RunnerException("Nothing runs here.", "Run ./crm up first.");
        var progress = new Progress();
        var platform = await InstalledServers.OpenAsync(root, installation, progress.Step, ct);
        var folder = Path.GetFullPath(names.FirstOrDefault()
            ?? Path.Combine(installation.Folder, "backups", DateTimeOffset.UtcNow.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture)));
        var manifest = await Backup.TakeAsync(platform, folder, progress.Step, ct);
        if (drill)
        {
            progress.Step("drill", "restoring beside the running databases");
            await Restore.DrillAsync(platform, folder, progress.Step, ct);
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {folder}
              {manifest.Databases.Sum(d => d.Tables.Values.Sum(t => t.Rows)):n0} rows, {manifest.Databases.Sum(d => d.Bytes) / 1_048_576.0:0.0} MB{(drill ? "; restored beside, every table has the same rows" : "")}
              It has personal data and no secrets: keep it encrypted, and {Path.Combine(Path.GetRelativePath(root, installation.Folder), "secrets")} apart from it.
            """));
        return 0;
    }
}
