using System.Text.Json;

namespace Crm.Runner;

/// <summary>Builds when a source is newer than the last build.</summary>
public sealed class Build
{
    private static readonly string[] NotSources = ["bin", "obj", ".git", ".run", "node_modules", "TestResults", ".vs", ".idea", ".vscode"];

    private readonly string _root;
    private readonly string _what;
    private readonly string _stamp;
    private readonly string[] _without;
    private readonly IReadOnlyList<string>? _projects;

    private Build(string root, string what, string[] without, IReadOnlyList<string>? projects)
    {
        _root = root;
        _what = what;
        _without = [.. NotSources, .. without];
        _projects = projects;
        _stamp = Path.Combine(Installation.FolderOf(root), $"build-{what}.stamp");
    }

    /// <summary>The programs of tye.yaml, without the tests.</summary>
    public static Build Programs(Topology topology) =>
        new(topology.Root, "programs", ["tests"], [.. topology.Entries.Where(e => e.Project is not null).Select(e => e.Project!).Where(p => File.Exists(Path.Combine(topology.Root, p)))]);

    /// <summary>The whole solution.</summary>
    public static Build Everything(string root) => new(root, "everything", [], null);

    public bool IsCurrent
    {
        get
        {
            var stamp = new FileInfo(_stamp);
            return stamp.Exists && !HasNewer(new DirectoryInfo(_root), stamp.LastWriteTimeUtc);
        }
    }

    public async Task RunAsync(Action<string, string> progress, CancellationToken ct = default)
    {
        if (IsCurrent)
            return;

        progress("build", File.Exists(_stamp) ? "sources changed, building" : $"building {_what}, the first time takes a minute or two");
        Directory.CreateDirectory(Path.Combine(Installation.FolderOf(_root), "logs"));
        var start = DateTime.UtcNow;
        var result = await CompileAsync(progress, ct);

        var log = Path.Combine(Installation.FolderOf(_root), "logs", "build.log");
        await File.WriteAllTextAsync(log, result.Output, ct);
        if (result.ExitCode != 0)
        {
            var errors = result.Output.Split('\n').Where(l => l.Contains("error", StringComparison.OrdinalIgnoreCase)).Select(l => l.Trim()).Distinct().Take(20);
            throw new RunnerException($"The build failed:\n{string.Join('\n', errors)}", $"The whole output is {log}.");
        }

        await ReadyToRun.RunAsync(Topology.Load(_root), progress, ct);

        // A source that changed while it was built is newer than the start; else the stamp is of now, because the build
        // itself made folders (bin, obj) and lock files beside the sources.
        var changed = HasNewer(new DirectoryInfo(_root), start, withFolders: false);
        await File.WriteAllTextAsync(_stamp, "", ct);
        if (changed)
            File.SetLastWriteTimeUtc(_stamp, start);
        progress("build", "done");
    }

    private async Task<ShellResult> CompileAsync(Action<string, string> progress, CancellationToken ct)
    {
        using var compiler = new CompilerServer();
        var building = Shell.RunAsync(["dotnet", "build", await SolutionAsync(ct), "-c", "Release", "-v", "q", "-nologo", .. compiler.Arguments], CompilerServer.Environment, _root, ct);
        while (await Task.WhenAny(building, Task.Delay(TimeSpan.FromSeconds(20), ct)) != building)
            progress("build", "still building");
        return await building;
    }

    /// <summary>The solution, or a filter on it.</summary>
    public async Task<string> SolutionAsync(CancellationToken ct)
    {
        var solution = Directory.EnumerateFiles(_root, "*.sln").FirstOrDefault()
            ?? throw new RunnerException($"No solution in {_root}.", "Run from a whole clone of the repository.");
        if (_projects is null)
            return solution;
        var filter = Path.Combine(Installation.FolderOf(_root), $"{_what}.slnf");
        var content = new { solution = new { path = Path.GetRelativePath(Path.GetDirectoryName(filter)!, solution), projects = _projects } };
        await File.WriteAllTextAsync(filter, JsonSerializer.Serialize(content), ct);
        return filter;
    }

    /// <summary>Folders count too: a source that was removed changes only its folder.</summary>
    private bool HasNewer(DirectoryInfo folder, DateTime time, bool withFolders = true)
    {
        if (withFolders && folder.LastWriteTimeUtc > time)
            return true;
        foreach (var entry in folder.EnumerateFileSystemInfos())
        {
            if (entry is DirectoryInfo inner)
            {
                if (!_without.Contains(inner.Name) && inner.LinkTarget is null && HasNewer(inner, time, withFolders))
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
