using System.Globalization;
using Crm.Runner.Images;

namespace Crm.Runner.Commands;

/// <summary>
/// An image a service and one of the gateway: into archives, or pushed to a registry. <c>--local-base</c> makes the base
/// from Debian's packages, by way of a registry on loopback; <c>--verify</c> then runs the six, hardened. <c>--servers</c> makes
/// PostgreSQL and RabbitMQ: beside them for a cluster (<c>--push</c>, <c>--archive</c>), alone for tests on containers.
/// </summary>
internal static class ImagesCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var options = Read(args);
        var root = Topology.FindRoot();
        var topology = Topology.Load(root);
        using var installation = Installation.Open(root);
        var progress = new Progress();
        var folder = Path.Combine(installation.Folder, "images");
        var engine = options.LocalBase || options.Verify ? await ContainerEngine.StartAsync(installation, progress.Step, ct) : null;
        if (options.Servers)
            await ServerImages.BuildAsync(engine!, folder, progress.Step, ct);
        if (options.Build)
        {
            var baseImage = options.LocalBase ? await DebianBase.BuildAsync(engine!, folder, progress.Step, ct) : options.Base is null ? null : new BaseImage(options.Base, null);
            // What is verified, and goes on to a cluster, is what the engine pulls.
            var registry = engine is not null ? engine.RegistryHost : options.Push ? options.Registry : null;
            await ImageBuild.RunAsync(topology, new ImageBuildOptions(folder, options.Tag, baseImage, registry), progress.Step, ct);
        }

        var result = options.Verify ? await VerifyAsync(root, options.Tag, progress, ct) : 0;
        if (result == 0 && engine is not null && options.ForCluster)
            await DeliverAsync(engine, new ClusterImages(topology, options.Registry, options.Tag, options.Servers), options.Archive, root, Path.Combine(folder, "trial"), progress, ct);
        return result;
    }

    private static async Task DeliverAsync(ContainerEngine engine, ClusterImages images, string? archive, string root, string overlay, Progress progress, CancellationToken ct)
    {
        var file = archive is null ? null : Path.GetFullPath(archive);
        await images.DeliverAsync(engine, file, progress.Step, ct);
        await images.WriteOverlayAsync(Path.Combine(root, "k8s"), overlay, ct);
        Console.WriteLine();
        foreach (var image in images.Images)
            Console.WriteLine($"  {images.ReferenceTo(image)}");
        if (file is not null)
            Console.WriteLine($"""
                To every node: ctr -n k8s.io images import {file}
                               (or: kind load image-archive {file}, docker load --input {file})
                """);
        Console.WriteLine($"""
            With the secrets of docs/install.md: kubectl apply -k {Path.GetRelativePath(root, overlay)}
            Is all well afterwards?              kubectl apply -k {Path.GetRelativePath(root, overlay)}/smoke-test
            """);
    }

    private static async Task<int> VerifyAsync(string root, string tag, Progress progress, CancellationToken ct)
    {
        var (containers, reason) = await ServiceContainers.FindAsync(root, tag, ct);
        if (containers is null)
            throw new RunnerException(reason, "");
        await using var platform = await Platform.StartAsync("images", progress: progress.Step, containers: containers, ct: ct);
        var report = await containers.CheckAsync([.. platform.Services.Keys], ct);
        var problems = report.Problems.Concat(await EndToEndCheck.RunAsync(platform, ct)).ToList();
        Console.WriteLine();
        foreach (var image in report.Images.OrderBy(i => i.Service, StringComparer.Ordinal))
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {image.Service,-13} {image.Size / 1e6:0} MB, user {image.User}, {string.Join(' ', image.Ports)}, {image.Labels} labels, revision {image.Revision[..Math.Min(12, image.Revision.Length)]}, {image.Parts} parts listed inside"));
        foreach (var problem in problems)
            Console.WriteLine($"  {problem}");
        Console.WriteLine(problems.Count == 0
            ? $"{platform.Services.Count} images: migrated, ready, read-only but for /tmp, user 10001, no capabilities, no new privileges, no shell; a customer went through all of them."
            : $"{problems.Count} problems.");
        return problems.Count == 0 ? 0 : 1;
    }

    internal static Options Read(string[] args)
    {
        var options = new Options();
        for (var i = 0; i < args.Length; i++)
        {
            options = (args[i], i + 1 < args.Length ? args[i + 1] : null) switch
            {
                ("--base", not null) => options with { Base = args[++i] },
                ("--registry", not null) => options with { Registry = args[++i] },
                ("--tag", not null) => options with { Tag = args[++i] },
                ("--archive", not null) => options with { Archive = args[++i] },
                ("--push", _) => options with { Push = true },
                ("--local-base", _) => options with { LocalBase = true },
                ("--verify", _) => options with { Verify = true },
                ("--servers", _) => options with { Servers = true },
                _ => throw new RunnerException($"images does not understand '{args[i]}'.", "Write: ./crm images [--base IMAGE | --local-base] [--registry HOST --push] [--tag T] [--verify], or ./crm images --local-base [--servers] [--registry HOST --push | --archive FILE] [--tag T]"),
            };
        }

        if (options.Push != (options.Registry is not null))
            throw new RunnerException("--push and --registry belong together.", "Without them the images are archives under .run/images.");
        if (options.LocalBase && options.Base is not null)
            throw new RunnerException("--local-base makes the base that --base would name.", "Leave one of them out.");
        if (options.Archive is not null && (options.Push || !(options.LocalBase || options.Verify)))
            throw new RunnerException("--archive goes with --local-base, instead of --push.", "Without any of them each image is an archive of its own under .run/images.");
        if (options.Servers && !(options.LocalBase && (options.ForCluster || !options.Verify)))
            throw new RunnerException("--servers goes with --local-base, and with --verify for a cluster only.", "Where images can be pulled, the public ones are taken: nothing has to be made.");
        // Tests need the servers alone; and to verify what --local-base has made before, nothing is built again.
        var forTests = options.Servers && !options.ForCluster;
        return options with { Build = !forTests && (!options.Verify || options.LocalBase || options.Base is not null) };
    }

    internal sealed record Options(string? Base = null, string? Registry = null, string Tag = "latest", string? Archive = null, bool Push = false, bool LocalBase = false, bool Verify = false, bool Servers = false, bool Build = true)
    {
        public bool ForCluster => Push || Archive is not null;
    }
}
