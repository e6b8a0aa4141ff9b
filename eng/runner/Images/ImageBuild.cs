namespace Crm.Runner.Images;

/// <param name="Base">Null takes the chiseled ASP.NET image that eng/images/images.targets names.</param>
/// <param name="Registry">Null writes archives only.</param>
internal sealed record ImageBuildOptions(string Folder, string Tag, BaseImage? Base, string? Registry);

/// <summary>An image a service and one of the gateway, made by the SDK, each with its list of parts beside it and inside.</summary>
internal static class ImageBuild
{
    private const string PublicBase = "mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled-extra";

    public static string NameOf(TopologyEntry entry) => "crm-" + entry.Name;

    /// <summary>The programs are built once, and the images of all in one go: a build for each would build what they share six times.</summary>
    /// <returns>By service: what to pull, or the archive.</returns>
    public static async Task<IReadOnlyDictionary<string, string>> RunAsync(Topology topology, ImageBuildOptions options, Action<string, string> progress, CancellationToken ct)
    {
        Directory.CreateDirectory(options.Folder);
        var build = Build.Programs(topology);
        await build.RunAsync(progress, ct);
        foreach (var entry in topology.Services)
        {
            var project = Path.GetDirectoryName(Path.Combine(topology.Root, entry.Project!))!;
            await Sbom.WriteAsync(SbomOf(options.Folder, entry), NameOf(entry), options.Tag, Path.Combine(project, "obj", "project.assets.json"), options.Base ?? new BaseImage(PublicBase, null), ct);
        }

        // One at a time: each fetches the same layers of the base into the same place.
        List<string> command = ["dotnet", "publish", await build.SolutionAsync(ct), "-c", "Release", "--no-build", "-m:1", "-v", "q", "-nologo", "-t:PublishContainer", $"-p:ContainerImageTag={options.Tag}", $"-p:SbomFolder={options.Folder}"];
        var revision = await Shell.RunAsync(["git", "rev-parse", "HEAD"], folder: topology.Root, ct: ct);
        if (revision.ExitCode == 0)
            command.Add($"-p:SourceRevision={revision.Output.Trim()}");
        if (options.Base is not null)
            command.Add($"-p:ContainerBaseImage={options.Base.Name}");
        command.Add(options.Registry is not null ? $"-p:ContainerRegistry={options.Registry}" : $"-p:ContainerArchiveFolder={options.Folder}");
        progress("images", "making them");
        await RequireAsync(command, topology.Root, ct);

        var made = topology.Services.ToDictionary(s => s.Name, s => options.Registry is not null ? $"{options.Registry}/{NameOf(s)}:{options.Tag}" : Path.Combine(options.Folder, NameOf(s) + ".tar.gz"));
        foreach (var entry in topology.Services)
            progress(NameOf(entry), $"{made[entry.Name]}, parts in {Path.GetRelativePath(topology.Root, SbomOf(options.Folder, entry))}");
        return made;
    }

    private static string SbomOf(string folder, TopologyEntry entry) => Path.Combine(folder, NameOf(entry) + ".cdx.json");

    private static async Task RequireAsync(IReadOnlyList<string> command, string root, CancellationToken ct)
    {
        var result = await Shell.RunAsync(command, folder: root, ct: ct);
        if (result.ExitCode == 0)
            return;
        var errors = result.Output.Split('\n').Where(l => l.Contains("error", StringComparison.OrdinalIgnoreCase)).Select(l => l.Trim()).Distinct().Take(10);
        throw new RunnerException(
            $"{string.Join(' ', command.Take(3))} failed:\n{string.Join('\n', errors)}",
            result.Output.Contains("CONTAINER", StringComparison.Ordinal) ? "If the base image cannot be pulled here: ./crm images --local-base makes one from Debian's packages." : "");
    }
}
