namespace Crm.Runner;

/// <summary>Builds the solution when a source is newer than the last build.</summary>
public static class Build
{
    private static readonly string[] NotSources = ["bin", "obj", ".git", ".run", "node_modules", "TestResults", ".vs", ".idea", ".vscode"];

    public static bool IsCurrent(string root)
    {
        var stamp = new FileInfo(Stamp(root));
        return stamp.Exists && !HasNewer(new DirectoryInfo(root), stamp.LastWriteTimeUtc);
    }

    /// <returns>Whether anything was built.</returns>
    public static async Task<bool> RunAsync(string root, Action<string, string> progress, CancellationToken ct = default)
    {
        if (IsCurrent(root))
            return false;

        var solution = Directory.EnumerateFiles(root, "*.sln").Concat(Directory.EnumerateFiles(root, "*.slnx")).FirstOrDefault()
            ?? throw new RunnerException($"No solution in {root}.", "Run from a whole clone of the repository.");
        progress("build", File.Exists(Stamp(root)) ? "sources changed, building" : "building everything, the first time takes a minute or two");
        var start = DateTimeOffset.UtcNow;
        var building = Shell.RunAsync(["dotnet", "build", solution, "-c", "Release", "-v", "q", "-nologo"], ct: ct, folder: root);
        while (await Task.WhenAny(building, Task.Delay(TimeSpan.FromSeconds(20), ct)) != building)
            progress("build", "still building");
        var result = await building;

        var log = Path.Combine(Installation.FolderOf(root), "logs", "build.log");
        Directory.CreateDirectory(Path.GetDirectoryName(log)!);
        await File.WriteAllTextAsync(log, result.Output, ct);
        if (result.ExitCode != 0)
            throw new RunnerException($"The build failed:\n{string.Join('\n', result.Output.Split('\n').Where(l => l.Contains("error", StringComparison.OrdinalIgnoreCase)).Distinct().Take(20))}", $"The whole output is {log}.");

        // A source that changed while it was built is newer than the start; else the stamp is of now, because the build
        // itself made folders (bin, obj) and lock files beside the sources.
        var changed = HasNewer(new DirectoryInfo(root), start.UtcDateTime, withFolders: false);
        await File.WriteAllTextAsync(Stamp(root), "", ct);
        if (changed)
            File.SetLastWriteTimeUtc(Stamp(root), start.UtcDateTime);
        progress("build", "done");
        return true;
    }

    private static string Stamp(string root) => Path.Combine(Installation.FolderOf(root), "build.stamp");

    /// <summary>Folders count too: a source that was removed changes only its folder.</summary>
    private static bool HasNewer(DirectoryInfo folder, DateTime time, bool withFolders = true)
    {
        if (withFolders && folder.LastWriteTimeUtc > time)
            return true;
        foreach (var entry in folder.EnumerateFileSystemInfos())
        {
            if (entry is DirectoryInfo inner)
            {
                if (!NotSources.Contains(inner.Name) && inner.LinkTarget is null && HasNewer(inner, time, withFolders))
                    return true;
            }
            else if (entry.LastWriteTimeUtc > time && entry.Name != "packages.lock.json")
            {
                return true;
            }
        }

        return false;
    }
}
