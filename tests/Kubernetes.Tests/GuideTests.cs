using System.Globalization;
using System.Text.Json.Nodes;
using Crm.Runner;

namespace Kubernetes.Tests;

/// <summary>What the operator's guide says of manifests is what they say.</summary>
public sealed class GuideTests
{
    [Fact]
    public async Task The_guide_says_what_production_asks_of_a_cluster_in_all()
    {
        var production = await Manifests.OfAsync("overlays/production");
        var observability = await Manifests.OfAsync("observability");
        Size Programs(string bound) => Sum(production.Of("HorizontalPodAutoscaler").Select(s => Size.Of((long)s["spec"]![bound]!, Resources(production.Find("Deployment", Manifests.Name(s))!), 0)));
        var databases = Sum(production.Of("Cluster").Select(c => Size.Of((long)c["spec"]!["instances"]!, c["spec"]!["resources"]!, GiB((string)c["spec"]!["storage"]!["size"]!))));
        var broker = Sum(production.Of("RabbitmqCluster").Select(c => Size.Of((long)c["spec"]!["replicas"]!, c["spec"]!["resources"]!, GiB((string)c["spec"]!["persistence"]!["storage"]!))));
        var watching = Sum(observability.Workloads.Select(w => Size.Of((long)w.Object["spec"]!["replicas"]!, Resources(w.Object),
            (w.Object["spec"]!["volumeClaimTemplates"]?.AsArray() ?? []).Sum(v => GiB((string)v!["spec"]!["resources"]!["requests"]!["storage"]!)))));
        // Nothing else in there takes resources.
        Assert.Equal(Topology.Load(Topology.FindRoot()).Services.Count(), production.Workloads.Count);

        var most = Programs("maxReplicas");
        (string Name, Size Size)[] rows =
        [
            ("programs, two pods each", Programs("minReplicas")), ("programs, scaled to the most", most), ("databases", databases), ("broker", broker),
            ("observability", watching), ("together, scaled to the most", Sum([most, databases, broker, watching])),
        ];
        var guide = await File.ReadAllLinesAsync(Path.Combine(Topology.FindRoot(), "docs", "operator-guide.md"), TestContext.Current.CancellationToken);
        Assert.All(rows, row => Assert.Contains($"| {row.Name} {row.Size}", guide));
    }

    private static JsonNode Resources(JsonObject workload) => workload["spec"]!["template"]!["spec"]!["containers"]!.AsArray().Single()!["resources"]!;

    private static Size Sum(IEnumerable<Size> sizes) => sizes.Aggregate((a, b) => new(a.Pods + b.Pods, a.Cpu + b.Cpu, a.Memory + b.Memory, a.MostCpu + b.MostCpu, a.MostMemory + b.MostMemory, a.Disk + b.Disk));

    private static decimal Cores(JsonNode quantity) => quantity.ToString() is var text && text.EndsWith('m') ? Number(text[..^1]) / 1000 : Number(text);

    private static decimal GiB(string quantity) => quantity[^2..] switch
    {
        "Gi" => Number(quantity[..^2]),
        "Mi" => Number(quantity[..^2]) / 1024,
        _ => throw new FormatException(quantity),
    };

    private static decimal Number(string text) => decimal.Parse(text, CultureInfo.InvariantCulture);

    /// <param name="Disk">And memory: in GiB.</param>
    private sealed record Size(long Pods, decimal Cpu, decimal Memory, decimal MostCpu, decimal MostMemory, decimal Disk)
    {
        public static Size Of(long pods, JsonNode resources, decimal disk)
        {
            var (asked, most) = (resources["requests"]!, resources["limits"]!);
            return new(pods, pods * Cores(asked["cpu"]!), pods * GiB((string)asked["memory"]!), pods * Cores(most["cpu"]!), pods * GiB((string)most["memory"]!), pods * disk);
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture,
            $"| {Pods} | {Cpu:0.##} | {Memory:0.##} GiB | {MostCpu:0.##} | {MostMemory:0.##} GiB |{(Disk == 0 ? "" : $" {Disk:0} GiB")} |");
    }
}
