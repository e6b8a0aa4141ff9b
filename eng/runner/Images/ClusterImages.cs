using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Crm.Runner.Images;

/// <summary>
/// What the engine has, brought to a cluster that can pull nothing else: into a registry, or as one archive for its nodes;
/// and the trial as an overlay that names it.
/// </summary>
/// <param name="Registry">Null when the nodes are given an archive.</param>
/// <param name="Servers">PostgreSQL and RabbitMQ too.</param>
internal sealed record ClusterImages(Topology Topology, string? Registry, string Tag, bool Servers)
{
    /// <summary>Nobody's registry: an image that a node was not given is looked for nowhere else.</summary>
    private const string NoRegistry = "localhost";

    private IReadOnlyList<ServerImages> ServersToo => Servers ? ServerImages.All : [];

    /// <summary>As the manifests call them.</summary>
    public IReadOnlyList<string> Images => [.. Topology.Services.Select(ImageBuild.NameOf), .. ServersToo.Select(s => s.Server)];

    /// <summary>As a cluster is to call it, without the tag; ours are told from the public ones by the name.</summary>
    public string NameOf(string image) => $"{Registry ?? NoRegistry}/{(image.StartsWith("crm-", StringComparison.Ordinal) ? image : "crm-" + image)}";

    public string ReferenceTo(string image) => $"{NameOf(image)}:{Tag}";

    /// <exception cref="RunnerException">One was not made, or the registry does not take it.</exception>
    public async Task DeliverAsync(ContainerEngine engine, string? archive, Action<string, string> progress, CancellationToken ct)
    {
        var made = Topology.Services.Select(ImageBuild.NameOf).ToDictionary(n => n, n => $"{engine.RegistryHost}/{n}:{Tag}");
        foreach (var source in made.Values)
            await engine.RequireAsync(["pull", "--quiet", source], ct);
        foreach (var server in ServersToo)
            made.Add(server.Server, server.Name);
        foreach (var (image, source) in made)
            await engine.RequireAsync(["tag", source, ReferenceTo(image)], ct);

        if (archive is not null)
        {
            // One for all, so that what they share is in it once.
            progress("archive", "writing " + archive);
            Directory.CreateDirectory(Path.GetDirectoryName(archive)!);
            await engine.RequireAsync(["save", "--output", archive, .. made.Keys.Select(ReferenceTo)], ct);
            return;
        }

        foreach (var reference in made.Keys.Select(ReferenceTo))
        {
            progress("push", reference);
            var pushed = await engine.RunAsync(["push", reference], ct);
            if (pushed.ExitCode != 0)
                throw new RunnerException($"docker push {reference} failed:\n{pushed.Output.Trim()}", $"It takes the password of docker login {Registry}, and the registry's own authority from /etc/docker/certs.d/{Registry}/ca.crt.\nWithout TLS a registry is reached under the name localhost only.");
        }
    }

    /// <summary>Two folders for kubectl apply -k: the trial, and its smoke test in it.</summary>
    /// <param name="manifests">The folder k8s; the overlays refer to it, so that they stay together.</param>
    public async Task WriteOverlayAsync(string manifests, string folder, CancellationToken ct)
    {
        var trial = Path.Combine(manifests, "overlays", "trial");
        var workloads = Topology.Services.Select(s => PresentIsEnough("apps/v1", "Deployment", s.Name, migrates: true))
            .Concat(ServersToo.Select(s => PresentIsEnough("apps/v1", "StatefulSet", s.Server, migrates: false)));
        await WriteAsync(trial, folder, Images, workloads, ct);
        await WriteAsync(Path.Combine(trial, "smoke-test"), Path.Combine(folder, "smoke-test"), ["crm-gateway"], [PresentIsEnough("batch/v1", "Job", "smoke-test", migrates: false)], ct);
    }

    private async Task WriteAsync(string source, string folder, IReadOnlyList<string> images, IEnumerable<string> workloads, CancellationToken ct)
    {
        Directory.CreateDirectory(folder);
        // What the source makes of a name is what is to be found and replaced.
        var named = new DeserializerBuilder()
            .WithNamingConvention(CamelCaseNamingConvention.Instance)
            .IgnoreUnmatchedProperties()
            .Build()
            .Deserialize<Kustomization>(await File.ReadAllTextAsync(Path.Combine(source, "kustomization.yaml"), ct))
            .Images.ToDictionary(i => i.Name, i => i.NewName ?? i.Name);
        var entries = images.Select(i => $$"""  - { name: {{named.GetValueOrDefault(i, i)}}, newName: {{NameOf(i)}}, newTag: "{{Tag}}" }""");
        // Nodes have no registry to ask whether what they were given is the newest.
        var patches = Registry is null ? "\npatchesStrategicMerge:\n  - pull-policy.yaml\n" : "";
        if (Registry is null)
            await File.WriteAllTextAsync(Path.Combine(folder, "pull-policy.yaml"), string.Join("---\n", workloads), ct);
        await File.WriteAllTextAsync(Path.Combine(folder, "kustomization.yaml"), $$"""
            # Made by ./crm images, and made anew by its next run: where its images are. All else is in the folder under "bases".
            apiVersion: kustomize.config.k8s.io/v1beta1
            kind: Kustomization
            namespace: crm

            bases:
              - {{Path.GetRelativePath(folder, source)}}
            {{patches}}
            images:
            {{string.Join('\n', entries)}}
            """ + "\n", ct);
    }

    private static string PresentIsEnough(string api, string kind, string name, bool migrates)
    {
        var first = migrates ? "\n      initContainers: [{ name: migrate, imagePullPolicy: IfNotPresent }]" : "";
        return $$"""
            apiVersion: {{api}}
            kind: {{kind}}
            metadata:
              name: {{name}}
            spec:
              template:
                spec:{{first}}
                  containers: [{ name: {{name}}, imagePullPolicy: IfNotPresent }]
            """ + "\n";
    }

    private sealed class Kustomization
    {
        public List<NamedImage> Images { get; set; } = [];
    }

    private sealed class NamedImage
    {
        public string Name { get; set; } = "";
        public string? NewName { get; set; }
    }
}
