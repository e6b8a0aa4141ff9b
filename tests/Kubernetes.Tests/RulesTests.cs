using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Runner;

namespace Kubernetes.Tests;

/// <summary>Prometheus' own checks, and that everything an operator is sent to is there.</summary>
public sealed class RulesTests
{
    private static string Folder => Path.Combine(Manifests.Folder, "observability", "rules");

    public static IEnumerable<(string Name, JsonNode Alert)> Alerts => RuleFiles.SelectMany(f => Manifests.Parse(File.ReadAllText(f)))
        .SelectMany(f => f["groups"]!.AsArray()).SelectMany(g => g!["rules"]!.AsArray()).Where(r => r!["alert"] is not null).Select(r => ((string)r!["alert"]!, r));

    private static IEnumerable<string> RuleFiles => Directory.EnumerateFiles(Folder, "*.rules.yaml");

    [Fact]
    public async Task Prometheus_accepts_the_rules()
    {
        Tools.Require("promtool", "prometheus");
        var result = await Shell.RunAsync(["promtool", "check", "rules", .. RuleFiles], ct: TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, result.Output);
    }

    [Fact]
    public async Task Each_alert_fires_when_it_should_and_not_before()
    {
        Tools.Require("promtool", "prometheus");
        var files = Directory.EnumerateFiles(Folder, "*.test.yaml").ToList();
        var result = await Shell.RunAsync(["promtool", "test", "rules", .. files], folder: Folder, ct: TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, result.Output);
        var tested = files.SelectMany(f => Manifests.Parse(File.ReadAllText(f))).SelectMany(f => f["tests"]!.AsArray()).SelectMany(t => t!["alert_rule_test"]!.AsArray());
        var fired = tested.Where(t => t!["exp_alerts"]?.AsArray().Count > 0).Select(t => (string)t!["alertname"]!);
        Assert.Empty(Alerts.Select(a => a.Name).Except(fired, StringComparer.Ordinal));
    }

    /// <summary>Without a label that tells them apart, one healthy database would speak for all.</summary>
    [Fact]
    public async Task Each_database_is_scraped_under_its_own_name()
    {
        var production = await Manifests.OfAsync("overlays/production");
        var job = await JobAsync("postgres");
        var label = job["relabel_configs"]!.AsArray().Single()!;
        Assert.Equal(("__meta_dns_name", "cluster"), ((string?)label["source_labels"]![0], (string?)label["target_label"]));
        var name = new Regex($"^(?:{(string?)label["regex"]})$", RegexOptions.None, TimeSpan.FromSeconds(10));
        var scraped = job["dns_sd_configs"]!.AsArray().SelectMany(d => d!["names"]!.AsArray()).Select(n => (string)n!).Order(StringComparer.Ordinal).ToList();
        var clusters = production.Of("Cluster").Select(Manifests.Name).Order(StringComparer.Ordinal).ToList();
        var services = clusters.Select(c => Manifests.Name(production.Of("Service").Single(s => (string?)s["spec"]!["selector"]!["cnpg.io/cluster"] == c)));
        Assert.Equal(services.Select(s => $"{s}.crm.svc"), scraped);
        Assert.Equal(clusters, scraped.Select(s => name.Replace(s, "$1")));
    }

    /// <summary>The broker of production and the trial's; which metrics come of it shows at a running one (RunningPlatformTests).</summary>
    [Theory, InlineData("rabbitmq"), InlineData("rabbitmq-queues")]
    public async Task Each_broker_is_asked_for_the_same_under_the_same_name(string name)
    {
        var (plain, tls) = (await JobAsync(name), await JobAsync($"{name}-tls"));
        Assert.Equal((string?)plain["metrics_path"], (string?)tls["metrics_path"]);
        Assert.Equal(plain["params"]?.ToJsonString(), tls["params"]?.ToJsonString());
        var label = tls["relabel_configs"]!.AsArray().Single()!;
        Assert.Equal(("job", name), ((string?)label["target_label"], (string?)label["replacement"]));
    }

    /// <summary>A kubelet tells thousands of series to whoever has the right, and runs commands for whoever has a little more.</summary>
    [Fact]
    public async Task The_kubelets_are_asked_for_what_the_rules_read_with_no_right_beyond_it()
    {
        var job = await JobAsync("kubelet");
        var kept = (string)job["metric_relabel_configs"]!.AsArray().Single()!["regex"]!;
        var read = PromQl.UsedMetrics().Select(u => u.Metric).Where(m => m.StartsWith("kubelet_", StringComparison.Ordinal)).Distinct().ToList();
        Assert.NotEmpty(read);
        Assert.All(read, metric => Assert.Matches($"^(?:{kept})$", $"{metric};crm"));

        var manifests = await Manifests.OfAsync("observability");
        var prometheus = manifests.Workloads.Single(w => w.Name == "prometheus");
        var folder = Path.GetDirectoryName((string)job["authorization"]!["credentials_file"]!);
        Assert.Contains(prometheus.Main.Single()["volumeMounts"]!.AsArray(), m => (string?)m!["mountPath"] == folder);
        var binding = Assert.Single(manifests.Of("ClusterRoleBinding"));
        var subject = binding["subjects"]!.AsArray().Single()!;
        Assert.Equal(((string?)prometheus.Pod["serviceAccountName"], prometheus.Namespace), ((string?)subject["name"], (string?)subject["namespace"]));
        var rights = manifests.Find("ClusterRole", (string)binding["roleRef"]!["name"]!)!["rules"]!.AsArray();
        Assert.Equal(["nodes", "nodes/metrics"], rights.SelectMany(r => r!["resources"]!.AsArray()).Select(r => (string)r!).Order(StringComparer.Ordinal));
        Assert.All(rights.SelectMany(r => r!["verbs"]!.AsArray()), v => Assert.Contains((string)v!, new[] { "get", "list", "watch" }));
    }

    [Fact]
    public void Each_alert_says_what_is_wrong_how_urgent_it_is_and_where_to_read_on()
    {
        var pages = Directory.EnumerateFiles(Path.Combine(Topology.FindRoot(), "docs", "runbooks"), "*.md").Select(f => Path.GetFileNameWithoutExtension(f)).Where(n => n != "README").ToList();
        foreach (var (name, alert) in Alerts)
        {
            Assert.Contains((string?)alert["labels"]?["severity"], new[] { "page", "ticket" });
            Assert.False(string.IsNullOrWhiteSpace((string?)alert["annotations"]?["summary"]), $"{name}: annotations.summary");
            Assert.Equal($"docs/runbooks/{name}.md", (string?)alert["annotations"]?["runbook"]);
        }

        Assert.Equal(Alerts.Select(a => a.Name).Order(StringComparer.Ordinal), pages.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task The_rules_and_dashboards_in_the_cluster_are_these_files()
    {
        var manifests = await Manifests.OfAsync("observability");
        var data = manifests.Of("ConfigMap").SelectMany(m => m["data"]!.AsObject()).ToDictionary(d => d.Key, d => (string?)d.Value, StringComparer.Ordinal);
        Assert.All(RuleFiles, f => Assert.Equal(File.ReadAllText(f), data[Path.GetFileName(f)]));
        var dashboards = Directory.EnumerateFiles(Path.Combine(Manifests.Folder, "observability", "dashboards"), "*.json").ToList();
        Assert.NotEmpty(dashboards);
        foreach (var file in dashboards)
        {
            Assert.Equal(File.ReadAllText(file), data[Path.GetFileName(file)]);
            var dashboard = JsonNode.Parse(File.ReadAllText(file))!;
            Assert.All(dashboard["panels"]!.AsArray(), p => Assert.True(p!["title"] is not null && p["gridPos"] is not null && (p["type"]!.ToString() == "row" || p["targets"]!.AsArray().Count > 0)));
            Assert.Equal(dashboard["panels"]!.AsArray().Count, dashboard["panels"]!.AsArray().Select(p => (int)p!["id"]!).Distinct().Count());
        }
    }

    internal static async Task<JsonNode> JobAsync(string name)
    {
        var settings = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(Manifests.Folder, "observability", "prometheus-settings.yaml"), TestContext.Current.CancellationToken))[0];
        return settings["scrape_configs"]!.AsArray().Single(j => (string?)j!["job_name"] == name)!;
    }
}

/// <summary>Which metrics an expression reads.</summary>
internal static partial class PromQl
{
    private static readonly string[] Words = ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "inf", "nan"];

    /// <summary>Every expression of the rules and dashboards, with where it stands; recorded series are left out.</summary>
    public static IReadOnlyList<(string Place, string Metric)> UsedMetrics()
    {
        var folder = Path.Combine(Manifests.Folder, "observability");
        var used = new List<(string Place, string Expression)>();
        var recorded = new HashSet<string>(StringComparer.Ordinal);
        foreach (var rule in Directory.EnumerateFiles(Path.Combine(folder, "rules"), "*.rules.yaml").SelectMany(f => Manifests.Parse(File.ReadAllText(f)))
            .SelectMany(f => f["groups"]!.AsArray()).SelectMany(g => g!["rules"]!.AsArray()))
        {
            used.Add(((string?)rule!["alert"] ?? (string)rule["record"]!, (string)rule["expr"]!));
            if ((string?)rule["record"] is { } record)
            {
                recorded.Add(record);
            }
        }

        foreach (var file in Directory.EnumerateFiles(Path.Combine(folder, "dashboards"), "*.json"))
        {
            used.AddRange(JsonNode.Parse(File.ReadAllText(file))!["panels"]!.AsArray()
                .SelectMany(p => (p!["targets"]?.AsArray() ?? []).Select(t => ($"{Path.GetFileName(file)}: {p["title"]}", (string)t!["expr"]!))));
        }

        return [.. used.SelectMany(u => Metrics(u.Expression).Where(m => !recorded.Contains(m)).Select(m => (u.Place, m))).Distinct()];
    }

    private static IEnumerable<string> Metrics(string expression)
    {
        var bare = Grouping().Replace(Braces().Replace(Ranges().Replace(Strings().Replace(expression, "\"\""), " "), " "), " ");
        return Names().Matches(bare).Where(m => !m.Groups["call"].Success && !Words.Contains(m.Groups["name"].Value, StringComparer.OrdinalIgnoreCase)).Select(m => m.Groups["name"].Value).Distinct();
    }

    [GeneratedRegex("\"[^\"]*\"", RegexOptions.None, 10_000)]
    private static partial Regex Strings();

    [GeneratedRegex(@"\[[^\]]*\]|offset\s+\d+\w", RegexOptions.None, 10_000)]
    private static partial Regex Ranges();

    [GeneratedRegex(@"\{[^}]*\}", RegexOptions.None, 10_000)]
    private static partial Regex Braces();

    [GeneratedRegex(@"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Grouping();

    [GeneratedRegex(@"\b(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?<call>\s*\()?", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Names();
}
