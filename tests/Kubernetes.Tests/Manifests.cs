using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Runner;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kubernetes.Tests;

/// <summary>What <c>kubectl kustomize</c> makes of a folder, as JSON.</summary>
internal sealed partial class Manifests
{
    /// <summary>Every folder that is applied as it is; kubectl names a namespace for admission, which production has in it.</summary>
    public static readonly IReadOnlyList<string> Overlays =
        [.. Directory.EnumerateFiles(Folder, "kustomization.yaml", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(Folder, Path.GetDirectoryName(f)!).Replace('\\', '/')).Where(f => f is not ("base" or "admission")).Order(StringComparer.Ordinal)];

    private static readonly ConcurrentDictionary<string, Task<Manifests>> Known = new(StringComparer.Ordinal);

    private static readonly ConcurrentDictionary<string, Task<Manifests>> Pinned = new(StringComparer.Ordinal);

    private Manifests(string overlay, IReadOnlyList<JsonObject> objects)
    {
        Overlay = overlay;
        Objects = objects;
        Workloads = [.. objects.Where(o => o["spec"]?["template"]?["spec"]?["containers"] is not null && Kind(o) is not "CronJob").Select(o => new Workload(overlay, o))];
    }

    public static string Folder => Path.Combine(Topology.FindRoot(), "k8s");

    public string Overlay { get; }

    public IReadOnlyList<JsonObject> Objects { get; }

    /// <summary>All that have a pod template of their own; those of operators have none.</summary>
    public IReadOnlyList<Workload> Workloads { get; }

    /// <summary>Every image that a pod will have: of workloads, and in the fields by which operators make pods. Patterns of policies are none.</summary>
    public IEnumerable<(string Field, string Image)> Images => Objects.Where(o => Kind(o) is not ("Policy" or "ClusterPolicy" or "ConfigMap"))
        .SelectMany(o => ImagesIn(o, "").Select(i => ($"{Overlay}: {Kind(o)} {Name(o)}: {i.Path}", i.Image)));

    public IEnumerable<JsonObject> Of(string kind) => Objects.Where(o => Kind(o) == kind);

    public JsonObject? Find(string kind, string name) => Of(kind).FirstOrDefault(o => Name(o) == name);

    public static string Kind(JsonObject o) => (string)o["kind"]!;

    public static string Name(JsonObject o) => (string)o["metadata"]!["name"]!;

    public static Task<Manifests> OfAsync(string overlay) => Known.GetOrAdd(overlay, o => LoadAsync(Folder, o));

    /// <summary>After k8s/pin-images.sh, in a copy; what stands for the registries answers each image with a digest of its own.</summary>
    public static Task<Manifests> PinnedAsync(string overlay) => Pinned.GetOrAdd(overlay, LoadPinnedAsync);

    /// <summary>A copy of k8s/ in a folder that ends with the tests.</summary>
    public static async Task<string> CopyAsync()
    {
        var folder = Reaper.TemporaryFolder("manifests");
        Assert.Equal(0, (await Shell.RunAsync(["cp", "-r", Folder, folder], ct: TestContext.Current.CancellationToken)).ExitCode);
        return Path.Combine(folder, "k8s");
    }

    public static async Task<ShellResult> PinAsync(string copy, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string?>? environment = null) =>
        await Shell.RunAsync(["bash", Path.Combine(copy, "pin-images.sh"), .. arguments], environment, copy, TestContext.Current.CancellationToken);

    public static async Task<string> KustomizeAsync(string folder)
    {
        Tools.Require("kubectl", "kubernetes-client");
        // Newer ones say on standard error that "bases" is deprecated.
        var result = await Shell.RunAsync(["sh", "-c", "exec kubectl kustomize \"$0\" 2>/dev/null", folder], ct: TestContext.Current.CancellationToken);
        if (result.ExitCode != 0)
        {
            var reasons = await Shell.RunAsync(["kubectl", "kustomize", folder], ct: TestContext.Current.CancellationToken);
            Assert.Fail($"kubectl kustomize {folder}: {reasons.Output}");
        }

        return result.Output;
    }

    public static IReadOnlyList<JsonObject> Parse(string yaml)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(yaml));
        return [.. stream.Documents.Select(d => Convert(d.RootNode)).OfType<JsonObject>()];
    }

    /// <summary>Of a copy of k8s/.</summary>
    public static async Task<Manifests> LoadAsync(string copy, string overlay) => new(overlay, Parse(await KustomizeAsync(Path.Combine(copy, overlay))));

    private static async Task<Manifests> LoadPinnedAsync(string overlay)
    {
        var copy = await CopyAsync();
        var crane = Path.Combine(copy, "crane");
        await File.WriteAllTextAsync(crane, "#!/bin/sh\nprintf sha256:; printf %s \"$2\" | sha256sum | cut -d' ' -f1\n", TestContext.Current.CancellationToken);
        Assert.Equal(0, (await Shell.RunAsync(["chmod", "+x", crane], ct: TestContext.Current.CancellationToken)).ExitCode);
        var environment = new Dictionary<string, string?> { ["PATH"] = $"{copy}:{Environment.GetEnvironmentVariable("PATH")}" };
        // Again is what an administrator does after a change of a tag.
        for (var i = 0; i < 2; i++)
        {
            var result = await PinAsync(copy, [overlay], environment);
            Assert.True(result.ExitCode == 0, result.Output);
        }

        return await LoadAsync(copy, overlay);
    }

    private static IEnumerable<(string Path, string Image)> ImagesIn(JsonNode node, string path)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (key, value) in o.Where(f => f.Value is not null))
                {
                    if (key is "image" or "imageName" && value is JsonValue)
                    {
                        yield return ($"{path}{key}", (string)value!);
                    }

                    foreach (var inner in ImagesIn(value!, $"{path}{key}."))
                    {
                        yield return inner;
                    }
                }

                break;
            case JsonArray a:
                foreach (var item in a.OfType<JsonObject>().SelectMany((o, i) => ImagesIn(o, $"{path.TrimEnd('.')}[{(string?)o["name"] ?? i.ToString(CultureInfo.InvariantCulture)}].")))
                {
                    yield return item;
                }

                break;
        }
    }

    private static JsonNode? Convert(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(c => KeyValuePair.Create(((YamlScalarNode)c.Key).Value!, Convert(c.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Convert)]),
        YamlScalarNode { Style: ScalarStyle.Plain, Value: var text } => Plain(text ?? ""),
        YamlScalarNode scalar => scalar.Value,
        _ => null,
    };

    private static JsonNode? Plain(string text) => text switch
    {
        "" or "null" or "~" => null,
        "true" => true,
        "false" => false,
        _ when Integer().IsMatch(text) => long.Parse(text, CultureInfo.InvariantCulture),
        _ when Number().IsMatch(text) => double.Parse(text, CultureInfo.InvariantCulture),
        _ => text,
    };

    [GeneratedRegex("^-?(0|[1-9][0-9]*)$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Integer();

    [GeneratedRegex(@"^-?[0-9]+\.[0-9]+$", RegexOptions.None, 10_000)]
    private static partial Regex Number();
}

/// <summary>A Deployment, StatefulSet or Job, and its pods.</summary>
internal sealed record Workload(string Overlay, JsonObject Object)
{
    public string Kind => Manifests.Kind(Object);

    public string Name => Manifests.Name(Object);

    public JsonNode Pod => Object["spec"]!["template"]!["spec"]!;

    public JsonNode Labels => Object["spec"]!["template"]!["metadata"]!["labels"]!;

    public string Namespace => (string?)Object["metadata"]!["namespace"] ?? "default";

    public IEnumerable<JsonNode> Main => Pod["containers"]!.AsArray().Select(c => c!);

    public IEnumerable<JsonNode> All => (Pod["initContainers"]?.AsArray() ?? []).Select(c => c!).Concat(Main);

    public override string ToString() => $"{Overlay}: {Kind} {Name}";

    /// <summary>
    /// Does a selector of labels (<c>matchLabels</c>, <c>matchExpressions</c> with In and Exists) select these pods? Those of a
    /// Deployment have a label more, of the ReplicaSet that they are of.
    /// </summary>
    public bool IsSelectedBy(JsonNode? selector)
    {
        var labels = Labels.DeepClone();
        if (Kind == "Deployment")
        {
            labels["pod-template-hash"] = "0";
        }

        return Selects(selector, labels);
    }

    public static bool Selects(JsonNode? selector, JsonNode labels) =>
        selector is not null
        && (selector["matchLabels"]?.AsObject() ?? []).All(l => (string?)labels[l.Key] == (string?)l.Value)
        && (selector["matchExpressions"]?.AsArray() ?? []).All(e => (string?)e!["operator"] switch
        {
            "In" => e["values"]!.AsArray().Any(v => (string?)v == (string?)labels[(string)e["key"]!]),
            "Exists" => labels[(string)e["key"]!] is not null,
            _ => false,
        });
}

internal static class Tools
{
    /// <summary>Without the program the test is skipped; in CI it fails.</summary>
    public static void Require(string program, string package)
    {
        var there = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => folder.Length > 0 && File.Exists(Path.Combine(folder, program)));
        if (!there)
        {
            var reason = $"{program} is not installed (Debian's package {package}; ./crm test installs it).";
            if (string.Equals(Environment.GetEnvironmentVariable("CI"), "true", StringComparison.OrdinalIgnoreCase))
            {
                Assert.Fail(reason);
            }

            Assert.Skip(reason);
        }
    }
}
