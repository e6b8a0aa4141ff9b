using System.Globalization;

namespace Crm.Runner.Images;

/// <param name="Base">Null takes the chiseled ASP.NET image that eng/images/images.targets names.</param>
/// <param name="Registry">Null writes archives only.</param>
internal sealed record ImageBuildOptions(string Folder, string Tag, BaseImage? Base, string? Registry);

/// <summary>An image a service and one of the gateway, made by the SDK, each with its list of parts beside it and inside.</summary>
internal static class ImageBuild
{
    private const string PublicBase = "mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled-extra";

    public static string NameOf(TopologyEntry entry) => "crm-" + entry.Name;

    /// <returns>By service: what to pull, or the archive.</returns>
    public static async Task<IReadOnlyDictionary<string, string>> RunAsync(Topology topology, ImageBuildOptions options, Action<string, string> progress, CancellationToken ct)
    {
        Directory.CreateDirectory(options.Folder);
        var revision = await Shell.RunAsync(["git", "rev-parse", "HEAD"], folder: topology.Root, ct: ct);
        var made = new Dictionary<string, string>();
        foreach (var entry in topology.Services)
        {
            var (name, project) = (NameOf(entry), Path.Combine(topology.Root, entry.Project!));
            await RequireAsync(["dotnet", "restore", project, "-v", "q", "-nologo"], topology.Root, ct);
            var sbom = Path.Combine(options.Folder, name + ".cdx.json");
            await Sbom.WriteAsync(sbom, name, options.Tag, Path.Combine(Path.GetDirectoryName(project)!, "obj", "project.assets.json"), options.Base ?? new BaseImage(PublicBase, null), ct);

            List<string> command = ["dotnet", "publish", project, "-c", "Release", "--no-restore", "-v", "q", "-nologo", "-t:PublishContainer", $"-p:ContainerRepository={name}", $"-p:ContainerImageTag={options.Tag}", $"-p:Sbom={sbom}"];
            if (revision.ExitCode == 0)
                command.Add($"-p:SourceRevision={revision.Output.Trim()}");
            if (options.Base is not null)
                command.Add($"-p:ContainerBaseImage={options.Base.Name}");
            var archive = Path.Combine(options.Folder, name + ".tar.gz");
            command.Add(options.Registry is not null ? $"-p:ContainerRegistry={options.Registry}" : $"-p:ContainerArchiveOutputPath={archive}");
            await RequireAsync(command, topology.Root, ct);
            made.Add(entry.Name, options.Registry is not null ? $"{options.Registry}/{name}:{options.Tag}" : archive);
            progress(name, string.Create(CultureInfo.InvariantCulture, $"{made[entry.Name]}, parts in {Path.GetRelativePath(topology.Root, sbom)}"));
        }

        return made;
    }

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
