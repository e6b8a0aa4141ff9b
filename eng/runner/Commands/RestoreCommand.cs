using Crm.Runner.Backups;

namespace Crm.Runner.Commands;

/// <summary>Puts a backup in the place of the databases; services must be down.</summary>
internal static class RestoreCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var overwrite = args.Contains("--overwrite");
        if (args.Where(a => a != "--overwrite").ToList() is not [var name] || name.StartsWith("--", StringComparison.Ordinal))
            throw new RunnerException("restore needs the folder of a backup.", "Write: ./crm restore <folder> [--overwrite]");

        var root = Topology.FindRoot();
        var topology = Topology.Load(root);
        using var installation = Installation.Open(root);
        if (topology.Services.Where(s => installation.IsRunning(s.Name)).Select(s => s.Name).ToList() is { Count: > 0 } running)
            throw new RunnerException($"Running: {string.Join(", ", running)}.", "Run ./crm down first. Nothing was changed.");
        var progress = new Progress();
        await Build.Programs(topology).RunAsync(progress.Step, ct);
        var ports = installation.Ports ?? PortMap.FromEnvironment(topology);
        installation.Use(ports, installation.External);
        var platform = await InstalledServers.OpenAsync(root, installation, progress.Step, ct);
        platform.RequireBuilt();
        await platform.WriteKeysAsync();
        var manifest = await Restore.RunAsync(platform, Path.GetFullPath(name), overwrite, progress.Step, ct);
        Console.WriteLine($"""

            Restored as of {manifest.TakenAt:u}. Start it: ./crm up
            What happened after that is gone: erasures, withdrawn consents and revoked keys of that time are to be done again (docs/backup.md).
            """);
        return 0;
    }
}
