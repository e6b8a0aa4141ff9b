using System.Globalization;
using Crm.Runner.Images;

namespace Crm.Runner.Commands;

/// <summary>
/// An image a service and one of the gateway: into archives, or pushed to a registry. <c>--local-base</c> makes the base
/// from Debian's packages and pushes to a registry on loopback; <c>--verify</c> then runs the six, hardened.
/// <c>--servers</c> makes PostgreSQL and RabbitMQ for tests on containers instead.
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
        {
            await ServerImages.BuildAsync(engine!, folder, progress.Step, ct);
            return 0;
        }

        if (options.Build)
        {
            var baseImage = options.LocalBase ? await DebianBase.BuildAsync(engine!, folder, progress.Step, ct) : options.Base is null ? null : new BaseImage(options.Base, null);
            // What is verified is what the engine pulls.
            var registry = engine is not null ? engine.RegistryHost : options.Push ? options.Registry : null;
            await ImageBuild.RunAsync(topology, new ImageBuildOptions(folder, options.Tag, baseImage, registry), progress.Step, ct);
        }

        return options.Verify ? await VerifyAsync(root, options.Tag, progress, ct) : 0;
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

    private static Options Read(string[] args)
    {
        var options = new Options();
        for (var i = 0; i < args.Length; i++)
        {
            options = (args[i], i + 1 < args.Length ? args[i + 1] : null) switch
            {
                ("--base", not null) => options with { Base = args[++i] },
                ("--registry", not null) => options with { Registry = args[++i] },
                ("--tag", not null) => options with { Tag = args[++i] },
                ("--push", _) => options with { Push = true },
                ("--local-base", _) => options with { LocalBase = true },
                ("--verify", _) => options with { Verify = true },
                ("--servers", _) => options with { Servers = true },
                _ => throw new RunnerException($"images does not understand '{args[i]}'.", "Write: ./crm images [--base IMAGE | --local-base] [--registry HOST --push] [--tag T] [--verify], or ./crm images --servers --local-base"),
            };
        }

        if (options.Push != (options.Registry is not null))
            throw new RunnerException("--push and --registry belong together.", "Without them the images are archives under .run/images.");
        if ((options.LocalBase || options.Verify) && (options.Push || (options.LocalBase && options.Base is not null)))
            throw new RunnerException("--local-base and --verify use the registry on loopback.", "Leave --push and --registry out, and --base with --local-base.");
        if (options.Servers && (!options.LocalBase || options.Verify))
            throw new RunnerException("--servers goes with --local-base alone.", "Where images can be pulled, tests take the public ones: nothing has to be made.");
        // To verify what --local-base has made before, nothing is built again.
        return options with { Build = !options.Verify || options.LocalBase || options.Base is not null };
    }

    private sealed record Options(string? Base = null, string? Registry = null, string Tag = "latest", bool Push = false, bool LocalBase = false, bool Verify = false, bool Servers = false, bool Build = true);
}
