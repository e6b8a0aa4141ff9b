using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Runner;

namespace Kubernetes.Tests;

/// <summary>What the operator's guide says of manifests and rules is what they say, and it leads to what it leaves out.</summary>
public sealed partial class GuideTests
{
    private static string Docs => Path.Combine(Topology.FindRoot(), "docs");

    private static string Guide => File.ReadAllText(Path.Combine(Docs, "operator-guide.md"));

    /// <summary>What is longer belongs onto the pages that it leads to.</summary>
    [Fact]
    public void The_guide_has_two_pages() =>
        Assert.InRange(Guide.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length, 1, 1_050);

    [Fact]
    public void The_guide_lists_every_alert_and_how_urgent_it_is()
    {
        var guide = Guide;
        Assert.All(RulesTests.Alerts, a => Assert.Contains($"| [{a.Name}](runbooks/{a.Name}.md) | {(string?)a.Alert["labels"]!["severity"]} | ", guide, StringComparison.Ordinal));
        Assert.Equal(RulesTests.Alerts.Count(), Link().Matches(guide).Count(m => m.Groups["target"].Value.StartsWith("runbooks/", StringComparison.Ordinal)));
    }

    [Fact]
    public void Every_link_of_the_documentation_leads_to_a_file_and_a_heading_in_it()
    {
        var pages = Directory.EnumerateFiles(Docs, "*.md", SearchOption.AllDirectories).Append(Path.Combine(Topology.FindRoot(), "README.md"));
        var broken = pages.SelectMany(page => Link().Matches(WithoutCode(page)).Select(m => m.Groups["target"].Value)
            .Where(target => !target.Contains("://", StringComparison.Ordinal) && !Leads(page, target)).Select(target => $"{page}: {target}"));
        Assert.Empty(broken);
    }

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
        var guide = Guide.Split('\n');
        Assert.All(rows, row => Assert.Contains($"| {row.Name} {row.Size}", guide));
    }

    private static bool Leads(string page, string target)
    {
        var parts = target.Split('#', 2);
        var file = parts[0].Length == 0 ? page : Path.Combine(Path.GetDirectoryName(page)!, parts[0]);
        return parts.Length == 1
            ? Path.Exists(file)
            : File.Exists(file) && Heading().Matches(WithoutCode(file)).Any(m => Anchor(m.Groups["text"].Value) == parts[1]);
    }

    /// <summary>As GitHub makes it of a heading.</summary>
    private static string Anchor(string heading) =>
        string.Concat(heading.Where(c => char.IsLetterOrDigit(c) || c is ' ' or '-' or '_').Select(c => c == ' ' ? '-' : char.ToLowerInvariant(c)));

    private static string WithoutCode(string page) => Code().Replace(File.ReadAllText(page), "");

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

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (?<text>.+)$", RegexOptions.ExplicitCapture | RegexOptions.Multiline, 10_000)]
    private static partial Regex Heading();

    [GeneratedRegex("```.*?```", RegexOptions.ExplicitCapture | RegexOptions.Singleline, 10_000)]
    private static partial Regex Code();
}
