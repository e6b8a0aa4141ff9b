using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Runner;

namespace Kubernetes.Tests;

/// <summary>The 25 checks that scanners make of a workload; each failure names the workload and the field.</summary>
public sealed partial class HardeningTests
{
    /// <summary>Of these there is one, with the volume or the memory that is its whole point; all else has two at least.</summary>
    private static readonly Dictionary<string, string> Single = new(StringComparer.Ordinal)
    {
        ["postgres"] = "overlays/trial has one server with one volume; overlays/production has three of each",
        ["rabbitmq"] = "overlays/trial has one broker with one volume; overlays/production has three",
        ["prometheus"] = "keeps its series on one volume; a second would be another Prometheus, not a replica",
        ["jaeger"] = "keeps traces in its memory",
        ["grafana"] = "has nothing of its own: it is there again in seconds",
        ["smoke-test"] = "runs once",
    };

    private static readonly string[] ClusterWide = ["Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding"];

    public static TheoryData<string> Overlays => [.. Manifests.Overlays];

    [Theory, MemberData(nameof(Overlays))]
    public async Task Every_workload_passes_the_checks_of_a_scanner(string overlay)
    {
        var manifests = await Manifests.PinnedAsync(overlay);
        var policy = await ImagePolicy.LoadAsync();
        var failures = new List<string>();
        foreach (var (field, image) in manifests.Images)
        {
            if (!(IsForTrial(overlay) ? image.StartsWith("localhost:5000/", StringComparison.Ordinal) || image.StartsWith("docker.io/library/", StringComparison.Ordinal) : policy.IsListed(image)))
            {
                failures.Add($"{field} is of a registry that is not listed: {image} (17)");
            }

            if (!IsForTrial(overlay) && OwnImage().IsMatch(image) && !policy.VerifiesSignature(image))
            {
                failures.Add($"{field} is admitted without our signature: {image} (18)");
            }

            if (!Pinned().IsMatch(image) || image.Contains(":latest", StringComparison.Ordinal))
            {
                failures.Add($"{field} has no explicit tag, or no digest: {image} (19)");
            }
        }

        foreach (var workload in manifests.Workloads)
        {
            var pod = workload.Pod;
            void Check(bool holds, string check, string field)
            {
                if (!holds)
                {
                    failures.Add($"{workload}: {field} ({check})");
                }
            }

            var security = pod["securityContext"];
            Check((bool?)security?["runAsNonRoot"] is true, "1", "spec.securityContext.runAsNonRoot is not true");
            Check((long?)security?["runAsUser"] > 10_000 && (long?)security?["runAsGroup"] > 10_000, "1", "spec.securityContext.runAsUser and runAsGroup are not above 10000");
            Check((string?)security?["seccompProfile"]?["type"] == "RuntimeDefault", "5", "spec.securityContext.seccompProfile.type is not RuntimeDefault");
            Check((bool?)pod["hostPID"] is not true && (bool?)pod["hostIPC"] is not true, "7", "spec.hostPID or hostIPC is set");
            Check((bool?)pod["hostNetwork"] is not true, "8", "spec.hostNetwork is set");
            Check(Volumes(pod).All(v => v["hostPath"] is null), "10", "spec.volumes has a hostPath");
            Check((bool?)pod["automountServiceAccountToken"] is false, "11", "spec.automountServiceAccountToken is not false");
            Check((string?)pod["serviceAccountName"] is { } account && account != "default" && manifests.Find("ServiceAccount", account) is not null, "11", "spec.serviceAccountName is not an account of its own");
            Check(manifests.Of("NetworkPolicy").Any(p => Selects(p, workload, "Ingress")) && manifests.Of("NetworkPolicy").Any(p => Selects(p, workload, "Egress")), "16", "no NetworkPolicy selects it both ways");
            Check((string?)pod["priorityClassName"] is { } priority && (manifests.Find("PriorityClass", priority) is not null || priority == "crm"), "25", "spec.priorityClassName is not set");
            if (workload.Kind != "Job")
            {
                Check(Single.ContainsKey(workload.Name) || (long?)workload.Object["spec"]!["replicas"] >= 2, "22", "spec.replicas is not 2 or more");
                Check(manifests.Of("PodDisruptionBudget").Any(b => workload.IsSelectedBy(b["spec"]!["selector"]) && AllowsOne(b["spec"]!, workload)), "23", "no PodDisruptionBudget lets one go");
                Check((pod["topologySpreadConstraints"]?.AsArray() ?? []).Any(c => workload.IsSelectedBy(c!["labelSelector"])), "24", "spec.topologySpreadConstraints do not select it");
                Check(HostAntiAffinity(pod).Any(t => workload.IsSelectedBy(t["labelSelector"])), "24", "spec.affinity.podAntiAffinity does not keep its pods on different hosts");
            }

            foreach (var container in workload.All)
            {
                var name = $"containers[{(string?)container["name"]}]";
                var own = container["securityContext"];
                Check((bool?)own?["allowPrivilegeEscalation"] is false, "2", $"{name}.securityContext.allowPrivilegeEscalation is not false");
                Check((bool?)own?["readOnlyRootFilesystem"] is true, "3", $"{name}.securityContext.readOnlyRootFilesystem is not true");
                Check(Mounts(container).Any(m => (string?)m["mountPath"] == "/tmp" && Volumes(pod).Any(v => (string?)v["name"] == (string?)m["name"] && v["emptyDir"] is not null)), "3", $"{name}.volumeMounts has no emptyDir at /tmp");
                Check(own?["capabilities"]?["drop"]?.AsArray().Select(c => (string?)c).SequenceEqual(["ALL"]) is true && own["capabilities"]!["add"] is null, "4", $"{name}.securityContext.capabilities.drop is not [ALL]");
                Check((bool?)own?["privileged"] is not true, "6", $"{name}.securityContext.privileged is true");
                Check((container["ports"]?.AsArray() ?? []).All(p => p!["hostPort"] is null), "9", $"{name}.ports has a hostPort");
                Check((container["env"]?.AsArray() ?? []).All(e => e!["valueFrom"]?["secretKeyRef"] is null) && (container["envFrom"]?.AsArray() ?? []).All(e => e!["secretRef"] is null), "12", $"{name}.env takes a secret");
                Check((container["env"]?.AsArray() ?? []).All(e => !IsCredential((string)e!["name"]!, (string?)e["value"])), "13", $"{name}.env has a credential");
                foreach (var (check, resource) in new[] { ("14", "cpu"), ("15", "memory") })
                {
                    Check(container["resources"]?["requests"]?[resource] is not null && container["resources"]?["limits"]?[resource] is not null, check, $"{name}.resources has no request or no limit of {resource}");
                }

                Check((string?)container["imagePullPolicy"] == "Always", "20", $"{name}.imagePullPolicy is not Always");
            }

            foreach (var container in workload.Main.Where(_ => workload.Kind != "Job"))
            {
                var name = $"containers[{(string?)container["name"]}]";
                Check(container["readinessProbe"] is { } ready && container["livenessProbe"] is { } live && Endpoint(ready) != Endpoint(live), "21", $"{name}: readinessProbe and livenessProbe are not there, or the same");
            }
        }

        foreach (var map in manifests.Of("ConfigMap"))
        {
            foreach (var (key, value) in map["data"]?.AsObject() ?? [])
            {
                if (IsCredential(key, (string?)value))
                {
                    failures.Add($"{overlay}: ConfigMap {Manifests.Name(map)}: {key} is a credential (13)");
                }
            }
        }

        Assert.Empty(failures);
        Assert.DoesNotContain(manifests.Objects, o => Manifests.Kind(o) == "Secret");
        Assert.All(manifests.Objects, o => Assert.True(ClusterWide.Contains(Manifests.Kind(o)) || o["metadata"]!["namespace"] is not null, $"{overlay}: {Manifests.Kind(o)} {Manifests.Name(o)} has no namespace"));
    }

    [Theory, MemberData(nameof(Overlays))]
    public async Task An_upgrade_waits_for_no_node_that_is_free_of_the_program(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        foreach (var workload in manifests.Workloads.Where(w => w.Kind == "Deployment"))
        {
            var pod = workload.Pod;
            Assert.True(pod["affinity"]?["podAntiAffinity"]?["requiredDuringSchedulingIgnoredDuringExecution"] is null, $"{workload}: every two pods are kept apart");
            var strict = (pod["topologySpreadConstraints"]?.AsArray() ?? []).Where(c => (string?)c!["whenUnsatisfiable"] == "DoNotSchedule").ToList();
            Assert.Equal(overlay == "overlays/production" ? 1 : 0, strict.Count);
            Assert.All(strict, c => Assert.Equal(
                ("kubernetes.io/hostname", "Honor", "pod-template-hash"),
                ((string?)c!["topologyKey"], (string?)c["nodeTaintsPolicy"], (string?)c["matchLabelKeys"]?[0])));
        }
    }

    [Theory, MemberData(nameof(Overlays))]
    public async Task Nothing_is_reached_but_what_a_policy_names(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        if (manifests.Of("Namespace").Any())
        {
            Assert.Contains(manifests.Of("NetworkPolicy"), p => p["spec"]!["podSelector"]!.AsObject().Count == 0
                && p["spec"]!["ingress"] is null && p["spec"]!["egress"] is null
                && p["spec"]!["policyTypes"]!.AsArray().Select(t => (string?)t).Order(StringComparer.Ordinal).SequenceEqual(["Egress", "Ingress"]));
            Assert.All(manifests.Of("Namespace"), n => Assert.Equal("restricted", (string?)n["metadata"]!["labels"]?["pod-security.kubernetes.io/enforce"]));
        }

        foreach (var policy in manifests.Of("NetworkPolicy"))
        {
            Assert.All((policy["spec"]!["egress"]?.AsArray() ?? []).Concat(policy["spec"]!["ingress"]?.AsArray() ?? []),
                rule => Assert.True(rule!["ports"]?.AsArray().Count > 0, $"{overlay}: NetworkPolicy {Manifests.Name(policy)} has a rule for all ports"));
        }
    }

    private static bool Selects(JsonObject policy, Workload workload, string way) =>
        (string?)policy["metadata"]!["namespace"] == workload.Namespace && workload.IsSelectedBy(policy["spec"]!["podSelector"])
        && policy["spec"]!["policyTypes"]!.AsArray().Any(t => (string?)t == way);

    private static bool AllowsOne(JsonNode budget, Workload workload) =>
        (long?)budget["maxUnavailable"] >= 1 || (long?)budget["minAvailable"] < (long?)workload.Object["spec"]!["replicas"];

    private static IEnumerable<JsonNode> HostAntiAffinity(JsonNode pod)
    {
        var affinity = pod["affinity"]?["podAntiAffinity"];
        return (affinity?["preferredDuringSchedulingIgnoredDuringExecution"]?.AsArray() ?? []).Select(p => p!["podAffinityTerm"]!)
            .Concat((affinity?["requiredDuringSchedulingIgnoredDuringExecution"]?.AsArray() ?? []).Select(p => p!))
            .Where(t => (string?)t["topologyKey"] == "kubernetes.io/hostname");
    }

    private static IEnumerable<JsonNode> Volumes(JsonNode pod) => (pod["volumes"]?.AsArray() ?? []).Select(v => v!);

    private static IEnumerable<JsonNode> Mounts(JsonNode container) => (container["volumeMounts"]?.AsArray() ?? []).Select(m => m!);

    private static string Endpoint(JsonNode probe) => (probe["httpGet"] ?? probe["tcpSocket"] ?? probe["exec"])!.ToJsonString();

    private static bool IsCredential(string name, string? value) =>
        CredentialName().IsMatch(name) || (value is not null && CredentialValue().IsMatch(value));

    [GeneratedRegex("(password|privatekey|adminkey|secretkey|connectionstring|__uri$)", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex CredentialName();

    [GeneratedRegex(@"(sk_live_\w|-----BEGIN [A-Z ]*PRIVATE KEY|(?i:password\s*[=:]\s*[^\s'$%]{6})|://[^\s/:@]+:[^\s/@$%]+@)", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex CredentialValue();

    /// <summary>A small cluster has no admission policy.</summary>
    private static bool IsForTrial(string overlay) => overlay.StartsWith("overlays/trial", StringComparison.Ordinal);

    [GeneratedRegex(@"^[^@]+/[^/:@]+:[A-Za-z0-9][\w.-]*@sha256:[0-9a-f]{64}$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Pinned();

    [GeneratedRegex("/crm-[a-z-]+[:@]", RegexOptions.None, 10_000)]
    private static partial Regex OwnImage();
}
