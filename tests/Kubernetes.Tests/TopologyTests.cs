using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Runner;
using Crm.Testing;
using Npgsql;

namespace Kubernetes.Tests;

/// <summary>The manifests say the same as tye.yaml, and name nothing that is not there.</summary>
public sealed partial class TopologyTests
{
    private static readonly Topology Topology = Topology.Load(Topology.FindRoot());

    public static TheoryData<string> Overlays => [.. Manifests.Overlays];

    public static TheoryData<string> Installations => ["overlays/trial", "overlays/production"];

    [Theory, MemberData(nameof(Installations))]
    public async Task Each_program_of_the_topology_is_a_workload_with_a_file_of_its_own(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        var programs = manifests.Workloads.Where(w => w.Kind == "Deployment").ToList();
        Assert.Equal(Topology.Services.Select(s => s.Name).Order(StringComparer.Ordinal), programs.Select(w => w.Name).Order(StringComparer.Ordinal));
        foreach (var (entry, workload) in Topology.Services.Select(s => (s, programs.Single(w => w.Name == s.Name))))
        {
            Assert.True(File.Exists(Path.Combine(Manifests.Folder, "base", entry.Name + ".yaml")), $"base/{entry.Name}.yaml");
            Assert.True(File.Exists(Path.Combine(Topology.Root, entry.Project!)), entry.Project);
            foreach (var container in workload.All)
            {
                Assert.Matches($"/crm-{entry.Name}[:@]", (string)container["image"]!);
            }

            // The same doors as in tye.yaml, at the ports that the program takes by default.
            var ports = entry.Bindings.Select(b => (b.Name, Port: b.Name == "http" ? 8080L : 8081L)).ToList();
            Assert.Equal(ports, workload.Main.Single()["ports"]!.AsArray().Select(p => ((string)p!["name"]!, (long)p["containerPort"]!)));
            Assert.Equal(ports, manifests.Find("Service", entry.Name)!["spec"]!["ports"]!.AsArray().Select(p => ((string)p!["name"]!, (long)p["port"]!)));
            Assert.Equal(["--migrate"], workload.Pod["initContainers"]![0]!["args"]!.AsArray().Select(a => (string)a!));
            Assert.Equal((string?)workload.Main.Single()["image"], (string?)workload.Pod["initContainers"]![0]!["image"]);
            Assert.Equal(Variables(workload.Main.Single()), Variables(workload.Pod["initContainers"]![0]!));
            // The kubelet's default, a second, is less than the check waits for a database that does not answer.
            Assert.InRange((long)workload.Main.Single()["startupProbe"]!["timeoutSeconds"]!, 3, 10);
            Assert.NotNull(manifests.Find("HorizontalPodAutoscaler", entry.Name));
        }
    }

    /// <summary>A first install, where pods are there before their databases, is no failed rollout.</summary>
    [Theory, MemberData(nameof(Installations))]
    public async Task A_rollout_may_take_as_long_as_a_pod_waits_for_its_database_and_starts(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        foreach (var workload in manifests.Workloads.Where(w => w.Kind == "Deployment"))
        {
            var probe = workload.Main.Single()["startupProbe"]!;
            var wait = Variables(workload.Pod["initContainers"]![0]!, manifests).Where(v => v.Name == "Database__MigrationWaitSeconds")
                .Select(v => long.Parse(v.Value, CultureInfo.InvariantCulture)).SingleOrDefault(new DatabaseOptions().MigrationWaitSeconds);
            // A minute for the image; 600 s is what Kubernetes takes by default.
            var deadline = (long?)workload.Object["spec"]!["progressDeadlineSeconds"] ?? 600;
            Assert.InRange(60 + wait + ((long)probe["periodSeconds"]! * (long)probe["failureThreshold"]!), 1, deadline);
            foreach (var page in (string[])["install.md", "operator-guide.md"])
            {
                var text = await File.ReadAllTextAsync(Path.Combine(Topology.Root, "docs", page), TestContext.Current.CancellationToken);
                Assert.Contains($"kubectl -n crm rollout status deployment --timeout={deadline / 60}m", text, StringComparison.Ordinal);
            }
        }
    }

    [Theory, MemberData(nameof(Overlays))]
    public async Task Every_reference_leads_somewhere(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        // Pods that an operator makes are not in the manifests.
        foreach (var service in manifests.Of("Service").Where(s => !s["spec"]!["selector"]!.AsObject().ContainsKey("cnpg.io/podRole")))
        {
            var selected = manifests.Workloads.Where(w => w.Namespace == (string?)service["metadata"]!["namespace"] && w.IsSelectedBy(new JsonObject { ["matchLabels"] = service["spec"]!["selector"]!.DeepClone() })).ToList();
            Assert.True(selected.Count == 1, $"{overlay}: Service {Manifests.Name(service)} selects {selected.Count} workloads");
            var ports = selected[0].Main.SelectMany(c => c["ports"]?.AsArray() ?? []).SelectMany(p => new[] { (string?)p!["name"], p["containerPort"]!.ToString() }).ToList();
            Assert.All(service["spec"]!["ports"]!.AsArray(), p => Assert.Contains(p!["targetPort"]!.ToString(), ports));
        }

        foreach (var workload in manifests.Workloads)
        {
            Assert.True(workload.IsSelectedBy(workload.Object["spec"]!["selector"] ?? new JsonObject()), $"{workload}: spec.selector");
            var volumes = (workload.Pod["volumes"]?.AsArray() ?? []).Select(v => (string)v!["name"]!)
                .Concat((workload.Object["spec"]!["volumeClaimTemplates"]?.AsArray() ?? []).Select(v => Manifests.Name(v!.AsObject()))).ToList();
            Assert.Equal(volumes.Order(StringComparer.Ordinal), workload.All.SelectMany(c => c["volumeMounts"]?.AsArray() ?? []).Select(m => (string)m!["name"]!).Distinct().Order(StringComparer.Ordinal));
            foreach (var map in Names(workload.Object, "configMap").Concat(Names(workload.Object, "configMapRef")).Where(m => m is not ("crm-trusted-keys" or "kube-root-ca.crt")))
            {
                Assert.True(manifests.Find("ConfigMap", map) is not null, $"{workload}: there is no ConfigMap {map}");
            }
        }

        foreach (var scaler in manifests.Of("HorizontalPodAutoscaler"))
        {
            var target = manifests.Find("Deployment", (string)scaler["spec"]!["scaleTargetRef"]!["name"]!);
            Assert.True((long)scaler["spec"]!["minReplicas"]! >= 2 && (long?)target?["spec"]!["replicas"] == (long)scaler["spec"]!["minReplicas"]!, $"{overlay}: HorizontalPodAutoscaler {Manifests.Name(scaler)}");
        }
    }

    [Theory, MemberData(nameof(Installations))]
    public async Task An_address_is_that_of_a_service_and_port_which_policies_let_through(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        var problems = new List<string>();
        foreach (var workload in manifests.Workloads)
        {
            foreach (var (name, value) in workload.All.SelectMany(c => Variables(c, manifests)).Distinct())
            {
                if (!name.StartsWith("OTEL_", StringComparison.Ordinal) && Address().Match(value) is { Success: true } match && !value.Contains(".example", StringComparison.Ordinal) && name != "Links__BaseUrl")
                {
                    var (host, port) = (match.Groups["host"].Value, long.Parse(match.Groups["port"].Value, CultureInfo.InvariantCulture));
                    var target = manifests.Find("Service", host);
                    if (target?["spec"]!["ports"]!.AsArray().Any(p => (long)p!["port"]! == port) is not true)
                    {
                        problems.Add($"{workload}: {name}={value}: there is no such service or port");
                    }
                    else if (host != workload.Name && !IsAllowed(manifests, workload, manifests.Workloads.Single(w => w.Name == host), port))
                    {
                        problems.Add($"{workload}: {name}={value}: no NetworkPolicy lets it out, or in");
                    }
                }
            }
        }

        Assert.Empty(problems);
    }

    /// <summary>The pools of all pods and of those that an upgrade starts before others go, and each one's readiness; ten are left for operators.</summary>
    [Theory, MemberData(nameof(Installations))]
    public async Task No_number_of_pods_takes_more_connections_than_its_database_has(string overlay)
    {
        const int Left = 10;
        var manifests = await Manifests.OfAsync(overlay);
        var folder = Path.Combine(Manifests.Folder, overlay);
        // queue-scaling.yaml is applied by those who want it.
        var scalers = manifests.Of("HorizontalPodAutoscaler").Concat(Directory.EnumerateFiles(folder, "*-scaling.yaml").SelectMany(f => Manifests.Parse(File.ReadAllText(f))));
        var pods = scalers.Where(s => s["spec"]!["maxReplicas"] is not null).GroupBy(Manifests.Name, StringComparer.Ordinal)
            .ToDictionary(g => g.Key, g => g.Max(s => (long)s["spec"]!["maxReplicas"]!) + Surge(g.Key), StringComparer.Ordinal);
        Assert.Equal(Topology.Services.Count(), pods.Count);
        if (overlay == "overlays/trial")
        {
            var (_, secrets) = await SettingsTests.MakeSecretsAsync("trial");
            var start = await File.ReadAllTextAsync(Path.Combine(folder, "postgres", "start.sh"), TestContext.Current.CancellationToken);
            var taken = pods.Sum(p => p.Value * (1 + new NpgsqlConnectionStringBuilder(File.ReadAllText(Path.Combine(secrets, $"database-{p.Key}"))).MaxPoolSize));
            Assert.InRange(taken, 1, Number(Connections().Match(start).Groups["number"].Value) - Left);
            return;
        }

        foreach (var (name, most) in pods)
        {
            var set = Variables(manifests.Workloads.Single(w => w.Name == name).Main.Single(), manifests).Where(v => v.Name == "Database__MaxPoolSize").Select(v => Number(v.Value));
            var pool = set.SingleOrDefault(new DatabaseOptions().MaxPoolSize);
            var there = Number((string)manifests.Find("Cluster", $"{name}-db")!["spec"]!["postgresql"]!["parameters"]!["max_connections"]!);
            Assert.InRange(most * (1 + pool), 1, there - Left);
        }

        long Surge(string name) => (long)manifests.Find("Deployment", name)!["spec"]!["strategy"]!["rollingUpdate"]!["maxSurge"]!;

        static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <summary>As their comments say that they are used: the one as a patch of the overlay, the other in the settings of prometheus-adapter.</summary>
    [Fact]
    public async Task Pods_go_by_queues_where_somebody_adds_the_patch_and_by_a_metric_that_is_recorded()
    {
        var ct = TestContext.Current.CancellationToken;
        var copy = await Manifests.CopyAsync();
        var file = Path.Combine(copy, "overlays", "production", "kustomization.yaml");
        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file, ct)).Replace("patchesStrategicMerge:\n", "patchesStrategicMerge:\n  - queue-scaling.yaml\n", StringComparison.Ordinal), ct);
        var (before, after) = (await Manifests.OfAsync("overlays/production"), await Manifests.LoadAsync(copy, "overlays/production"));
        Assert.Equal(before.Objects.Count, after.Objects.Count);
        var schema = KubernetesSchema.Load(SharedData.Require("k8s/k8s-1.32.3-definitions.json"));
        Assert.Empty(after.Objects.Where(schema.Knows).SelectMany(schema.Check));

        const string Metric = "crm_queue_messages_ready";
        foreach (var scaler in after.Of("HorizontalPodAutoscaler").Select(s => s["spec"]!))
        {
            var name = (string)scaler["scaleTargetRef"]!["name"]!;
            var one = before.Find("HorizontalPodAutoscaler", name)!["spec"]!;
            Assert.Equal(((long)one["minReplicas"]!, (long)one["maxReplicas"]!), ((long)scaler["minReplicas"]!, (long)scaler["maxReplicas"]!));
            var metrics = scaler["metrics"]!.AsArray();
            string[] types = name == "gateway" ? ["Resource"] : ["Resource", "External"];
            Assert.Equal(types, metrics.Select(m => (string)m!["type"]!));
            foreach (var metric in metrics.Select(m => m!["external"]?["metric"]).OfType<JsonNode>())
            {
                Assert.Equal((Metric, name), ((string?)metric["name"], (string?)metric["selector"]!["matchLabels"]!["service"]));
                // By the second part of a queue's name the rule knows whose it is.
                Assert.Contains(EventCatalog.All.SelectMany(r => r.Queues), q => q.StartsWith($"crm.{name}.", StringComparison.Ordinal));
            }
        }

        Assert.Contains($"seriesQuery: '{Metric}'", await File.ReadAllTextAsync(Path.Combine(Manifests.Folder, "overlays", "production", "metrics-adapter.yaml"), ct), StringComparison.Ordinal);
        var rules = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(Manifests.Folder, "observability", "rules", "crm.rules.yaml"), ct));
        var rule = Assert.Single(rules.SelectMany(f => f["groups"]!.AsArray()).SelectMany(g => g!["rules"]!.AsArray()), r => (string?)r!["record"] == Metric)!;
        Assert.StartsWith("sum by (service) (", (string)rule["expr"]!, StringComparison.Ordinal);
    }

    /// <summary>As in the trial and in all tests: under C, the default of CloudNativePG, a name with an umlaut is not found in capitals.</summary>
    [Fact]
    public async Task Every_database_of_production_knows_letters_beyond_ASCII_and_has_checksums()
    {
        var manifests = await Manifests.OfAsync("overlays/production");
        var clusters = manifests.Of("Cluster").ToList();
        Assert.Equal(Topology.Services.Select(s => $"{s.Name}-db").Order(StringComparer.Ordinal), clusters.Select(Manifests.Name).Order(StringComparer.Ordinal));
        Assert.All(clusters, c =>
        {
            var made = c["spec"]!["bootstrap"]!["initdb"]!;
            Assert.Equal(("UTF8", "C.UTF-8", "C.UTF-8"), ((string?)made["encoding"], (string?)made["localeCollate"], (string?)made["localeCType"]));
            Assert.True((bool?)made["dataChecksums"], Manifests.Name(c));
        });
        // Backed up from the first day on, not from the first night.
        Assert.Equal(clusters.Select(Manifests.Name), manifests.Of("ScheduledBackup").Where(b => (bool?)b["spec"]!["immediate"] is true).Select(b => (string)b["spec"]!["cluster"]!["name"]!));
    }

    /// <summary>The figures of the README were measured with it (eng/runner/PostgresServer.cs says why), and it leaves the volume to the data.</summary>
    [Fact]
    public async Task Every_server_has_the_WAL_that_was_measured_and_a_volume_that_has_room_for_it()
    {
        var trial = (await Manifests.OfAsync("overlays/trial")).Workloads.Single(w => w.Name == "postgres");
        var start = await File.ReadAllTextAsync(Path.Combine(Manifests.Folder, "overlays", "trial", "postgres", "start.sh"), TestContext.Current.CancellationToken);
        Assert.Contains(" -c max_wal_size=4GB ", start, StringComparison.Ordinal);
        var volumes = (await Manifests.OfAsync("overlays/production")).Of("Cluster").Select(c =>
        {
            Assert.Equal("4GB", (string?)c["spec"]!["postgresql"]!["parameters"]!["max_wal_size"]);
            return (string)c["spec"]!["storage"]!["size"]!;
        }).Append((string)trial.Object["spec"]!["volumeClaimTemplates"]![0]!["spec"]!["resources"]!["requests"]!["storage"]!).ToList();
        Assert.Equal(1 + Topology.Services.Count(), volumes.Count);
        Assert.All(volumes, size => Assert.InRange(4, 1, int.Parse(size.Replace("Gi", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) / 2));
    }

    /// <summary>Parallel workers share memory in /dev/shm, of which a container has 64 MB; what is in it counts as the pod's. CloudNativePG mounts one of its own.</summary>
    [Fact]
    public async Task The_trial_s_server_has_memory_to_share_among_its_workers()
    {
        var postgres = (await Manifests.OfAsync("overlays/trial")).Workloads.Single(w => w.Name == "postgres");
        var mount = Assert.Single(postgres.Main.Single()["volumeMounts"]!.AsArray(), m => (string?)m!["mountPath"] == "/dev/shm")!;
        var volume = Assert.Single(postgres.Pod["volumes"]!.AsArray(), v => (string?)v!["name"] == (string?)mount["name"])!;
        Assert.Equal(("Memory", "256Mi"), ((string?)volume["emptyDir"]!["medium"], (string?)volume["emptyDir"]!["sizeLimit"]));
        Assert.Equal("3Gi", (string?)postgres.Main.Single()["resources"]!["limits"]!["memory"]);
    }

    /// <summary>Its operator makes no budget, and gives no priority, of its own accord.</summary>
    [Fact]
    public async Task One_node_of_production_s_broker_is_drained_at_a_time_and_none_gives_way_to_other_pods()
    {
        var manifests = await Manifests.OfAsync("overlays/production");
        var broker = Assert.Single(manifests.Of("RabbitmqCluster"));
        var labels = new JsonObject { ["app.kubernetes.io/name"] = Manifests.Name(broker) };
        var budget = Assert.Single(manifests.Of("PodDisruptionBudget"), b => Workload.Selects(b["spec"]!["selector"], labels));
        Assert.Equal(1, (long?)budget["spec"]!["maxUnavailable"]);
        var pod = broker["spec"]!["override"]!["statefulSet"]!["spec"]!["template"]!["spec"]!;
        Assert.Equal("crm", (string?)pod["priorityClassName"]);
        Assert.Empty(pod["containers"]!.AsArray());
        Assert.Contains("rabbitmq_shovel", broker["spec"]!["rabbitmq"]!["additionalPlugins"]!.AsArray().Select(p => (string?)p));
    }

    /// <summary>By it Erlang sizes its tables, which count against the pod's memory.</summary>
    [Theory]
    [InlineData("unlimited", "65536")]
    [InlineData("1073741816", "65536")]
    [InlineData("65536", "65536")]
    [InlineData("1024", "1024")]
    public async Task A_broker_opens_no_more_files_than_65536_and_does_not_raise_a_lower_limit(string given, string expected)
    {
        var ct = TestContext.Current.CancellationToken;
        var broker = Assert.Single((await Manifests.OfAsync("overlays/production")).Of("RabbitmqCluster"));
        var start = await File.ReadAllTextAsync(Path.Combine(Manifests.Folder, "overlays", "trial", "rabbitmq", "start.sh"), ct);
        var trial = start[start.IndexOf("limit=", StringComparison.Ordinal)..start.IndexOf("exec ", StringComparison.Ordinal)];
        foreach (var script in (string[])[(string)broker["spec"]!["rabbitmq"]!["envConfig"]!, trial])
        {
            // In the place of the shell's own, which cannot be as high here.
            const string Ulimit = "given=$1; ulimit() { [ $# = 1 ] && echo \"$given\" || given=$2; }";
            var result = await Shell.RunAsync(["sh", "-c", $"set -eu\n{Ulimit}\n{script}\necho \"$given\"", "sh", given], ct: ct);
            Assert.Equal((0, expected), (result.ExitCode, result.Output.Trim()));
        }
    }

    /// <summary>In a first install there is nothing yet.</summary>
    [Theory]
    [InlineData("contacts 5 gateway 2 support 0 ", 5L)]
    [InlineData("", 2L)]
    public async Task Applied_by_the_script_a_program_keeps_the_pods_that_its_autoscaler_has_given_it(string live, long expected)
    {
        Tools.Require("kubectl", "kubernetes-client");
        var ct = TestContext.Current.CancellationToken;
        var folder = Reaper.TemporaryFolder("applied");
        var applied = Path.Combine(folder, "applied.yaml");
        var real = (await Shell.RunAsync(["sh", "-c", "command -v kubectl"], ct: ct)).Output.Trim();
        // Stands for the cluster: what it has, and what it is sent.
        await File.WriteAllTextAsync(Path.Combine(folder, "kubectl"), $"""
            #!/bin/sh
            case $1 in
              get) printf '{live}' ;;
              apply) cat >'{applied}' ;;
              *) exec '{real}' "$@" ;;
            esac

            """, ct);
        Assert.Equal(0, (await Shell.RunAsync(["chmod", "+x", Path.Combine(folder, "kubectl")], ct: ct)).ExitCode);
        var environment = new Dictionary<string, string?> { ["PATH"] = $"{folder}:{Environment.GetEnvironmentVariable("PATH")}" };
        var result = await Shell.RunAsync(["bash", Path.Combine(Manifests.Folder, "apply.sh"), Path.Combine(Manifests.Folder, "overlays", "production")], environment, ct: ct);
        Assert.True(result.ExitCode == 0, result.Output);

        var sent = Manifests.Parse(await File.ReadAllTextAsync(applied, ct));
        Assert.Equal((await Manifests.OfAsync("overlays/production")).Objects.Count, sent.Count);
        var replicas = sent.Where(o => Manifests.Kind(o) == "Deployment").ToDictionary(Manifests.Name, o => (long)o["spec"]!["replicas"]!, StringComparer.Ordinal);
        Assert.Equal(Topology.Services.Count(), replicas.Count);
        Assert.All(replicas, r => Assert.Equal(r.Key == "contacts" ? expected : 2, r.Value));
    }

    /// <summary>Beside a program that runs, its queues would be emptied of what others have just published.</summary>
    [Theory]
    [InlineData("", 0)]
    [InlineData("pod/contacts-1", 1)]
    public async Task After_a_restore_each_program_has_a_job_with_what_its_own_pods_are_given_and_none_while_one_runs(string running, int expected)
    {
        var manifests = await Manifests.OfAsync("overlays/production");
        var programs = manifests.Workloads.Where(w => w.Kind == "Deployment").ToList();
        var (result, applied) = await RunJobsAsync(programs, ["after-restore.sh"], running, "SuccessCriteriaMet Complete");
        Assert.True(result.ExitCode == expected, result.Output);
        Assert.Equal(expected != 0, applied is null);
        if (applied is null)
        {
            return;
        }

        var jobs = applied.Select(j => new Workload("after-restore", j)).ToList();
        Assert.Equal(programs.Select(p => $"after-restore-{p.Name}").Order(StringComparer.Ordinal), jobs.Select(j => j.Name).Order(StringComparer.Ordinal));
        foreach (var (program, job) in programs.Select(p => (p, jobs.Single(j => j.Name == $"after-restore-{p.Name}"))))
        {
            Assert.Equal(["migrate --migrate", "after-restore --after-restore"], job.All.Select(c => $"{(string?)c["name"]} {(string?)c["args"]!.AsArray().Single()}"));
            foreach (var container in job.All)
            {
                Assert.Equal((string?)program.Main.Single()["image"], (string?)container["image"]);
                Assert.Equal(Variables(program.Main.Single()), Variables(container));
                Assert.True(JsonNode.DeepEquals(program.Main.Single()["volumeMounts"], container["volumeMounts"]), $"{job}: volumeMounts");
            }

            Assert.True(JsonNode.DeepEquals(program.Pod["volumes"], job.Pod["volumes"]) && JsonNode.DeepEquals(program.Labels, job.Labels), $"{job}: volumes, labels");
            // Of a Job no budget knows how many pods there should be; with one among its pods it lets none go.
            Assert.Contains(manifests.Of("PodDisruptionBudget"), b => program.IsSelectedBy(b["spec"]!["selector"]));
            Assert.DoesNotContain(manifests.Of("PodDisruptionBudget"), b => job.IsSelectedBy(b["spec"]!["selector"]));
        }
    }

    /// <summary>An image that cannot be pulled, or that the admission refuses, is no reason to wait for ever.</summary>
    [Theory]
    [InlineData("pod\\n\\nImagePullBackOff Back-off pulling image\\n", "waits: ImagePullBackOff Back-off pulling image")]
    [InlineData("", "waits: it has no pod. images are signed")]
    public async Task A_job_that_cannot_start_is_given_up_with_its_reason_and_none_stays(string pods, string reason)
    {
        var programs = (await Manifests.OfAsync("overlays/production")).Workloads.Where(w => w.Kind == "Deployment").ToList();
        var overlay = Path.Combine(Manifests.Folder, "overlays", "production");
        var (result, applied) = await RunJobsAsync(programs, ["check-upgrade.sh", overlay], pods, "", seconds: "1");
        Assert.True(result.ExitCode == 1, result.Output);
        Assert.All(programs, p => Assert.Contains($"check-upgrade-{p.Name} {reason}", result.Output, StringComparison.Ordinal));
        Assert.Contains("check-upgrade-gateway has not started in 1 seconds", result.Output, StringComparison.Ordinal);
        Assert.All(applied!.Where(o => Manifests.Kind(o) == "Job"), j => Assert.InRange((long)j["spec"]!["activeDeadlineSeconds"]!, 1, 3600));
        // What an earlier run may have left, and its own.
        var deletions = result.Output.Split('\n').Where(l => l.StartsWith("delete job", StringComparison.Ordinal)).ToList();
        Assert.Equal(2, deletions.Count);
        Assert.All(programs, p => Assert.All(deletions, d => Assert.Contains($" check-upgrade-{p.Name} ", d, StringComparison.Ordinal)));
    }

    /// <summary>Callers find a program's pods by the labels by which its database lets them in; of those of a check none may become ready.</summary>
    [Theory]
    [InlineData("SuccessCriteriaMet Complete", 0)]
    [InlineData("FailureTarget Failed", 1)]
    public async Task Before_an_upgrade_each_program_s_next_image_is_asked_what_it_would_migrate_and_takes_no_calls(string outcome, int expected)
    {
        var programs = (await Manifests.OfAsync("overlays/production")).Workloads.Where(w => w.Kind == "Deployment").ToList();
        var copy = await Manifests.CopyAsync();
        var file = Path.Combine(copy, "overlays", "production", "kustomization.yaml");
        var ct = TestContext.Current.CancellationToken;
        // The settings of the new release, which no pod has yet.
        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file, ct)).Replace("newTag: 1.0.0", "newTag: 1.1.0", StringComparison.Ordinal)
            .Replace("      - Gateway__TrustedProxies__0=", "      - Gateway__RequestsPerMinute=900\n      - Gateway__TrustedProxies__0=", StringComparison.Ordinal), ct);
        var next = await Manifests.LoadAsync(copy, "overlays/production");
        var (result, applied) = await RunJobsAsync(programs, ["check-upgrade.sh", Path.Combine(copy, "overlays", "production")], "pod/contacts-1", outcome);
        Assert.True(result.ExitCode == expected, result.Output);
        var maps = applied!.Where(o => Manifests.Kind(o) == "ConfigMap").ToDictionary(Manifests.Name, StringComparer.Ordinal);
        Assert.Equal(next.Of("ConfigMap").Select(m => $"check-upgrade-{Manifests.Name(m)}").Order(StringComparer.Ordinal), maps.Keys.Order(StringComparer.Ordinal));
        Assert.All(maps.Keys, m => Assert.Equal(2, result.Output.Split('\n').Count(l => l.StartsWith("delete configmap/", StringComparison.Ordinal) && $"{l} ".Contains($"configmap/{m} ", StringComparison.Ordinal))));
        var jobs = applied!.Where(o => Manifests.Kind(o) == "Job").Select(j => new Workload("check-upgrade", j)).ToList();
        Assert.Equal(programs.Select(p => $"check-upgrade-{p.Name}").Order(StringComparer.Ordinal), jobs.Select(j => j.Name).Order(StringComparer.Ordinal));
        foreach (var (program, job) in programs.Select(p => (p, jobs.Single(j => j.Name == $"check-upgrade-{p.Name}"))))
        {
            var container = Assert.Single(job.All);
            Assert.Equal($"registry.example.com/crm/crm-{program.Name}:1.1.0", (string?)container["image"]);
            Assert.Equal(["--migrate", "--check"], container["args"]!.AsArray().Select(a => (string)a!));
            var settings = Variables(next.Find("Deployment", program.Name)!["spec"]!["template"]!["spec"]!["containers"]![0]!, next).Order();
            Assert.Equal(settings, (container["env"]?.AsArray() ?? []).Select(e => ((string)e!["name"]!, e["value"]?.ToString() ?? ""))
                .Concat(container["envFrom"]!.AsArray().SelectMany(e => maps[(string)e!["configMapRef"]!["name"]!]["data"]!.AsObject().Select(d => (d.Key, (string?)d.Value ?? "")))).Order());
            Assert.Equal(program.Name == "gateway", settings.Contains(("Gateway__RequestsPerMinute", "900")));
            Assert.True(JsonNode.DeepEquals(program.Main.Single()["volumeMounts"], container["volumeMounts"]) && JsonNode.DeepEquals(program.Pod["volumes"], job.Pod["volumes"]), $"{job}: volumes");
            // Nothing listens while it checks.
            Assert.Equal(8080, (long?)container["readinessProbe"]?["tcpSocket"]?["port"]);
            Assert.Equal(0, (long?)job.Object["spec"]!["backoffLimit"]);
        }
    }

    /// <summary>A pod would wait for it, and say nothing.</summary>
    [Fact]
    public async Task An_upgrade_whose_manifests_mount_a_secret_that_is_not_there_is_not_asked_further()
    {
        var programs = (await Manifests.OfAsync("overlays/production")).Workloads.Where(w => w.Kind == "Deployment").ToList();
        var (result, applied) = await RunJobsAsync(programs, ["check-upgrade.sh", Path.Combine(Manifests.Folder, "overlays", "production")], "", "SuccessCriteriaMet Complete", lacking: "support-db-app");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("support: there is no secret support-db-app", result.Output, StringComparison.Ordinal);
        Assert.Null(applied);
    }

    [Theory, MemberData(nameof(Installations))]
    public async Task Only_the_gateway_is_reached_from_outside(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        Assert.All(manifests.Of("Service"), s => Assert.True((string?)s["spec"]!["type"] is null or "ClusterIP", Manifests.Name(s)));
        Assert.All(manifests.Of("Ingress").SelectMany(i => i["spec"]!["rules"]!.AsArray()).SelectMany(r => r!["http"]!["paths"]!.AsArray()),
            p => Assert.Equal("gateway", (string?)p!["backend"]!["service"]!["name"]));
        // A rule without a podSelector is one for strangers.
        foreach (var policy in manifests.Of("NetworkPolicy").Where(p => (p["spec"]!["ingress"]?.AsArray() ?? []).Any(r => (r!["from"]?.AsArray() ?? [null]).Any(f => f?["podSelector"] is null))))
        {
            Assert.Equal("gateway", (string?)policy["spec"]!["podSelector"]!["matchLabels"]?["app.kubernetes.io/name"]);
        }
    }

    /// <summary>Whoever changes what the documentation says, and nothing else, has changed all: names under example.com, and the door in one file.</summary>
    [Fact]
    public async Task Production_s_names_are_all_under_one_domain_and_its_ingress_controller_is_named_in_one_file()
    {
        var folder = Path.Combine(Manifests.Folder, "overlays", "production");
        var files = Directory.EnumerateFiles(folder, "*.yaml").Concat(Directory.EnumerateFiles(Path.Combine(Manifests.Folder, "admission"), "*.yaml")).ToList();
        Assert.Empty(files.SelectMany(f => ExampleName().Matches(File.ReadAllText(f)).Where(m => m.Value != ".example.com").Select(m => $"{f}: {m.Value}")));
        Assert.Equal(["ingress.yaml"], files.Where(f => File.ReadAllText(f).Contains("nginx", StringComparison.Ordinal)).Select(f => Path.GetFileName(f)));

        var manifests = await Manifests.OfAsync("overlays/production");
        var ingress = Assert.Single(manifests.Of("Ingress"))["spec"]!;
        var solver = Assert.Single(manifests.Find("Issuer", "public")!["spec"]!["acme"]!["solvers"]!.AsArray())!;
        Assert.Equal((string?)ingress["ingressClassName"], (string?)solver["http01"]!["ingress"]!["ingressClassName"]);
        var certificate = manifests.Find("Certificate", "gateway-tls")!["spec"]!;
        var host = (string)Assert.Single(ingress["rules"]!.AsArray())!["host"]!;
        Assert.Equal([host], certificate["dnsNames"]!.AsArray().Select(n => (string)n!));
        Assert.Equal([host], ingress["tls"]![0]!["hosts"]!.AsArray().Select(n => (string)n!));
        Assert.Equal((string?)certificate["secretName"], (string?)ingress["tls"]![0]!["secretName"]);
        Assert.True(JsonNode.DeepEquals(From("to-gateway"), From("acme-solver")), "to-gateway, acme-solver");

        JsonNode? From(string policy) => manifests.Find("NetworkPolicy", policy)!["spec"]!["ingress"]![0]!["from"];
    }

    /// <summary>A script beside what stands for a cluster with these programs: what it sends there, or null when it sends nothing.</summary>
    private static async Task<(ShellResult Result, IReadOnlyList<JsonObject>? Applied)> RunJobsAsync(
        IReadOnlyList<Workload> programs, IReadOnlyList<string> script, string running, string outcome, string? seconds = null, string lacking = "none")
    {
        Tools.Require("kubectl", "kubernetes-client");
        var ct = TestContext.Current.CancellationToken;
        var folder = Reaper.TemporaryFolder("jobs");
        var applied = Path.Combine(folder, "applied.json");
        foreach (var program in programs)
        {
            // What the script asks for by jsonpath, a line each.
            await File.WriteAllLinesAsync(Path.Combine(folder, program.Name),
                [program.Labels.ToJsonString(), (string)program.Pod["serviceAccountName"]!, program.Pod["securityContext"]!.ToJsonString(),
                 program.Pod["volumes"]!.ToJsonString(), program.Pod["initContainers"]![0]!.ToJsonString()], ct);
        }

        var real = (await Shell.RunAsync(["sh", "-c", "command -v kubectl"], ct: ct)).Output.Trim();
        await File.WriteAllTextAsync(Path.Combine(folder, "kubectl"), $"""
            #!/bin/sh
            case "$1 $2" in
              "get pods") printf '{running}' ;;
              "get deployment") cat "{folder}/$3" ;;
              "get job") printf '{outcome}' ;;
              "get events") printf 'images are signed' ;;
              "get secret") [ "$3" = '{lacking}' ] || printf 'secret/%s' "$3" ;;
              "delete job" | "delete configmap/"*) printf '%s\n' "$*" ;;
              "apply -f") cat >'{applied}' ;;
              kustomize* | "label --local") exec '{real}' "$@" ;;
            esac

            """, ct);
        Assert.Equal(0, (await Shell.RunAsync(["chmod", "+x", Path.Combine(folder, "kubectl")], ct: ct)).ExitCode);
        var environment = new Dictionary<string, string?> { ["PATH"] = $"{folder}:{Environment.GetEnvironmentVariable("PATH")}", ["CRM_JOB_SECONDS"] = seconds };
        var result = await Shell.RunAsync(["bash", Path.Combine(Manifests.Folder, script[0]), .. script.Skip(1)], environment, ct: ct);
        return (result, File.Exists(applied) ? [.. JsonNode.Parse(await File.ReadAllTextAsync(applied, ct))!["items"]!.AsArray().Select(j => j!.AsObject())] : null);
    }

    /// <summary>A reference is to what stands before it, and otherwise stays as it is written.</summary>
    [Theory, MemberData(nameof(Installations))]
    public async Task Every_program_says_with_what_it_measures_in_which_pod_and_on_which_node_it_runs(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        foreach (var container in manifests.Workloads.Where(w => w.Kind == "Deployment").SelectMany(w => w.All))
        {
            var before = container["env"]!.AsArray().Select(e => e!).TakeWhile(e => (string?)e["name"] != "OTEL_RESOURCE_ATTRIBUTES").ToList();
            var attributes = (string)container["env"]![before.Count]!["value"]!;
            foreach (var variable in before.Where(e => e["valueFrom"] is not null))
            {
                attributes = attributes.Replace($"$({(string?)variable["name"]})", (string?)variable["valueFrom"]!["fieldRef"]!["fieldPath"], StringComparison.Ordinal);
            }

            Assert.Equal("k8s.pod.name=metadata.name,k8s.namespace.name=metadata.namespace,k8s.node.name=spec.nodeName", attributes);
        }
    }

    internal static IReadOnlyList<string> Variables(JsonNode container) =>
        [.. (container["env"]?.AsArray() ?? []).Select(e => $"{(string?)e!["name"]}={(string?)e["value"]}").Concat((container["envFrom"]?.AsArray() ?? []).Select(e => (string)e!["configMapRef"]!["name"]!))];

    /// <summary>With those that come from ConfigMaps.</summary>
    internal static IEnumerable<(string Name, string Value)> Variables(JsonNode container, Manifests manifests) =>
        (container["env"]?.AsArray() ?? []).Select(e => ((string)e!["name"]!, e["value"]?.ToString() ?? ""))
            .Concat((container["envFrom"]?.AsArray() ?? []).Select(e => manifests.Find("ConfigMap", (string)e!["configMapRef"]!["name"]!)!)
                .SelectMany(m => m["data"]!.AsObject().Select(d => (d.Key, (string?)d.Value ?? ""))));

    private static bool IsAllowed(Manifests manifests, Workload from, Workload to, long port) =>
        manifests.Of("NetworkPolicy").Any(p => from.IsSelectedBy(p["spec"]!["podSelector"]) && Rules(p, "egress", "to", to, port))
        && manifests.Of("NetworkPolicy").Any(p => to.IsSelectedBy(p["spec"]!["podSelector"]) && Rules(p, "ingress", "from", from, port));

    private static bool Rules(JsonObject policy, string way, string end, Workload other, long port) =>
        (policy["spec"]![way]?.AsArray() ?? []).Any(r => r!["ports"]!.AsArray().Any(p => (long)p!["port"]! == port)
            && (r[end]?.AsArray() ?? []).Any(e => e!["namespaceSelector"]?.AsObject().Count == 0 || (e["podSelector"] is { } selector && other.IsSelectedBy(selector))));

    private static IEnumerable<string> Names(JsonNode node, string field)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (key, value) in o)
                {
                    if (key == field && (string?)value?["name"] is { } name)
                    {
                        yield return name;
                    }

                    foreach (var inner in value is null ? [] : Names(value, field))
                    {
                        yield return inner;
                    }
                }

                break;
            case JsonArray a:
                foreach (var inner in a.Where(i => i is not null).SelectMany(i => Names(i!, field)))
                {
                    yield return inner;
                }

                break;
        }
    }

    [GeneratedRegex("^https?://(?<host>[a-z-]+)(\\.crm)?:(?<port>[0-9]+)", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Address();

    [GeneratedRegex(@"\.example\b(\.\w+)?", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex ExampleName();

    [GeneratedRegex("max_connections=(?<number>[0-9]+)", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Connections();
}
