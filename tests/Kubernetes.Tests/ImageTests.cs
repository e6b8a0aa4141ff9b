using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Runner;
using Crm.Runner.Images;

namespace Kubernetes.Tests;

/// <summary>Where images come from: what the admission policy lets in, and how k8s/pin-images.sh asks a registry.</summary>
public sealed partial class ImageTests
{
    private static readonly string[] Everything = ["overlays/trial", "overlays/production", "observability"];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_pinned_is_let_in_and_what_is_not_listed_or_has_no_digest_is_kept_out_of_our_namespaces()
    {
        var policy = await ImagePolicy.LoadAsync();
        Manifests[] installed = [await Manifests.PinnedAsync("overlays/production"), await Manifests.PinnedAsync("observability")];
        Assert.Equal(Manifests.Name(Assert.Single(installed[0].Of("Namespace"))), (string?)ImagePolicy.OfImages(installed[0])["metadata"]!["namespace"]);
        // The same one, for whichever namespace kubectl names.
        var anywhere = ImagePolicy.OfImages(await Manifests.OfAsync("admission"));
        Assert.Null(anywhere["metadata"]!["namespace"]);
        Assert.True(JsonNode.DeepEquals(anywhere["spec"], ImagePolicy.OfImages(await Manifests.OfAsync("overlays/production"))["spec"]));
        var images = installed.SelectMany(m => m.Images).Select(i => i.Image).ToList();
        // Six programs and their migrations, six databases, the broker; collector, Prometheus, Jaeger, Grafana.
        Assert.Equal(12 + 6 + 1 + 4, images.Count);
        Assert.All(images, image => Assert.Null(policy.Refusal(image)));
        Assert.All(images, image => Assert.Equal("by-digest", policy.Refusal(image[..image.IndexOf('@', StringComparison.Ordinal)])));

        var digest = "@sha256:" + new string('a', 64);
        Assert.Equal("listed-registries", policy.Refusal($"docker.io/library/busybox:1.36{digest}"));
        Assert.Equal("listed-registries", policy.Refusal($"registry.example.com/others/crm-contacts:1.0.0{digest}"));
        Assert.Equal("listed-registries", policy.Refusal($"elsewhere.example/registry.example.com/crm/crm-contacts:1.0.0{digest}"));
        Assert.Equal("listed-registries", policy.Refusal($"crm-contacts:1.0.0{digest}"));
        Assert.Null(policy.Refusal($"registry.example.com/crm/crm-contacts:1.0.0{digest}"));
        Assert.True(policy.VerifiesSignature($"registry.example.com/crm/crm-contacts:1.0.0{digest}"));
    }

    [Fact]
    public async Task The_script_writes_the_digest_that_the_registry_says_and_asks_once_for_an_image()
    {
        await using var registry = await StandInRegistry.StartAsync(Ct);
        var copy = await Manifests.CopyAsync();
        await registry.MirrorAsync(copy, Ct);
        var result = await Manifests.PinAsync(copy, ["--with", "curl", .. Everything]);
        Assert.True(result.ExitCode == 0, result.Output);

        var images = new HashSet<string>(StringComparer.Ordinal);
        foreach (var overlay in (string[])[.. Everything, "overlays/trial/smoke-test"])
        {
            images.UnionWith((await Manifests.LoadAsync(copy, overlay)).Images.Select(i => i.Image));
        }

        var found = images.Select(i => Reference().Match(i)).ToList();
        Assert.All(found, m => Assert.Equal((registry.Host, StandInRegistry.DigestOf(m.Groups["image"].Value)), (m.Groups["host"].Value, m.Groups["digest"].Value)));
        Assert.Equal(found.Select(m => m.Groups["image"].Value).Order(StringComparer.Ordinal), registry.Answered.Keys.Order(StringComparer.Ordinal));
        Assert.All(registry.Answered, asked => Assert.Equal(1, asked.Value));

        // For a setting of an operator.
        var one = await Manifests.PinAsync(copy, ["--with", "curl", $"{registry.Host}/operators/one:1.28.3"]);
        Assert.Equal($"{registry.Host}/operators/one:1.28.3@{StandInRegistry.DigestOf("operators/one:1.28.3")}\n", one.Output);
    }

    [Fact]
    public async Task When_the_registry_lacks_one_image_it_is_named_and_no_file_is_changed()
    {
        await using var registry = await StandInRegistry.StartAsync(Ct);
        var copy = await Manifests.CopyAsync();
        await registry.MirrorAsync(copy, Ct);
        var before = await ContentAsync();
        registry.TakenAway["docker.io/library/rabbitmq:4.1-management"] = 0;
        var result = await Manifests.PinAsync(copy, ["--with", "curl", .. Everything]);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains($"http://{registry.Host}/v2/docker.io/library/rabbitmq/manifests/4.1-management answered 404", result.Output, StringComparison.Ordinal);
        Assert.NotEmpty(registry.Answered);
        Assert.Equal(before, await ContentAsync());

        async Task<IReadOnlyList<string>> ContentAsync() =>
            await Task.WhenAll(Directory.EnumerateFiles(copy, "*.yaml", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(f => File.ReadAllTextAsync(f, Ct)));
    }

    /// <summary>Where nothing can be pulled: ./crm images --local-base --servers, with --push or --archive.</summary>
    [Theory]
    [InlineData("registry.example:5000", "registry.example:5000", "Always")]
    [InlineData(null, "localhost", "IfNotPresent")]
    public async Task The_trial_that_the_runner_writes_names_the_eight_images_that_it_made_and_is_the_trial_in_all_else(string? registry, string host, string policy)
    {
        var copy = await Manifests.CopyAsync();
        var images = new ClusterImages(Topology.Load(Topology.FindRoot()), registry, "1.4.0", Servers: true);
        await images.WriteOverlayAsync(copy, Path.Combine(copy, "overlays", "made"), Ct);
        var made = await Manifests.LoadAsync(copy, "overlays/made");

        string[] expected = ["billing-sync", "campaigns", "contacts", "gateway", "interactions", "postgres", "rabbitmq", "support"];
        Assert.Equal(expected.Select(i => $"{host}/crm-{i}:1.4.0"), made.Images.Select(i => i.Image).Distinct().Order(StringComparer.Ordinal));
        Assert.Equal(images.Images.Select(images.ReferenceTo).Order(StringComparer.Ordinal), expected.Select(i => $"{host}/crm-{i}:1.4.0"));
        Assert.All(made.Workloads.SelectMany(w => w.All), c => Assert.Equal(policy, (string?)c["imagePullPolicy"]));
        var trial = await Manifests.OfAsync("overlays/trial");
        Assert.Equal(trial.Objects.Select(WithoutImages), made.Objects.Select(WithoutImages));

        var smokeTest = await Manifests.LoadAsync(copy, "overlays/made/smoke-test");
        var container = Assert.Single(smokeTest.Workloads.SelectMany(w => w.All));
        Assert.Equal(($"{host}/crm-gateway:1.4.0", policy), ((string?)container["image"], (string?)container["imagePullPolicy"]));

        static string WithoutImages(JsonObject o)
        {
            var rest = o.DeepClone();
            if (rest["spec"]?["template"]?["spec"] is JsonObject pod)
            {
                foreach (var one in (pod["initContainers"]?.AsArray() ?? []).Concat(pod["containers"]!.AsArray()))
                {
                    one!.AsObject().Remove("image");
                    one.AsObject().Remove("imagePullPolicy");
                }
            }

            return rest.ToJsonString();
        }
    }

    [Fact]
    public async Task Without_the_servers_the_trial_that_the_runner_writes_keeps_theirs()
    {
        var copy = await Manifests.CopyAsync();
        await new ClusterImages(Topology.Load(Topology.FindRoot()), null, "1.4.0", Servers: false).WriteOverlayAsync(copy, Path.Combine(copy, "overlays", "made"), Ct);
        var (made, trial) = (await Manifests.LoadAsync(copy, "overlays/made"), await Manifests.OfAsync("overlays/trial"));
        foreach (var server in (string[])["postgres", "rabbitmq"])
        {
            Assert.True(JsonNode.DeepEquals(trial.Find("StatefulSet", server), made.Find("StatefulSet", server)), server);
        }
    }

    [GeneratedRegex("^(?<host>[^/]+)/(?<image>[^@]+)@(?<digest>.+)$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Reference();
}
