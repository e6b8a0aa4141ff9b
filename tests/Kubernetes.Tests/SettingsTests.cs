using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Crm.Contracts.Events;
using Crm.Runner;

namespace Kubernetes.Tests;

/// <summary>What manifests and documentation set is what the programs read, as they say themselves (<c>--settings</c>).</summary>
public sealed partial class SettingsTests
{
    /// <summary>Read by .NET and OpenTelemetry, not by us.</summary>
    private static readonly string[] OfLibraries = ["OTEL_", "DOTNET_"];

    private static readonly ConcurrentDictionary<string, Task<IReadOnlyList<(string Name, bool Required)>>> Known = new(StringComparer.Ordinal);

    public static TheoryData<string> Installations => TopologyTests.Installations;

    [Theory, MemberData(nameof(Installations))]
    public async Task Every_variable_and_secret_of_a_manifest_is_read_by_its_program_and_nothing_required_is_left_out(string overlay)
    {
        var manifests = await Manifests.OfAsync(overlay);
        var secrets = await SecretsOfAsync(overlay);
        var problems = new List<string>();
        foreach (var workload in manifests.Workloads.Where(w => w.Kind == "Deployment"))
        {
            var settings = await SettingsOfAsync(workload.Name);
            foreach (var container in workload.All)
            {
                var variables = TopologyTests.Variables(container, manifests).ToList();
                // What is set only for the value of another to name it is not for the program.
                var set = variables.Select(v => v.Name).Where(n => !OfLibraries.Any(l => n.StartsWith(l, StringComparison.Ordinal)) && !variables.Any(v => v.Value.Contains($"$({n})", StringComparison.Ordinal)))
                    .Concat(Files(workload, secrets)).Distinct().ToList();
                problems.AddRange(set.Where(name => !settings.Any(s => Names(s.Name, name))).Select(name => $"{workload}: {name} is not read by the program"));
                problems.AddRange(settings.Where(s => s.Required && !set.Contains(s.Name, StringComparer.Ordinal)).Select(s => $"{workload}: {s.Name} is required and not set"));
                if (!set.Contains("ConnectionStrings__Database") && !(set.Contains("Database__Host") && set.Contains("Database__Password")))
                {
                    problems.Add($"{workload}: no database is set");
                }

                if (workload.Name != "gateway" && !set.Contains("Bus__Uri") && !(set.Contains("Bus__Host") && set.Contains("Bus__Password")))
                {
                    problems.Add($"{workload}: no broker is set");
                }
            }
        }

        Assert.Empty(problems);
    }

    [Fact]
    public async Task The_README_lists_exactly_what_the_programs_read()
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Topology.FindRoot(), "README.md"), TestContext.Current.CancellationToken);
        var table = text[text.IndexOf("## Configuration", StringComparison.Ordinal)..text.IndexOf("Every program has the modes", StringComparison.Ordinal)];
        var documented = Code().Matches(string.Join('\n', table.Split('\n').Where(l => l.StartsWith("| `", StringComparison.Ordinal)).Select(l => l[..l.IndexOf('|', 3)]).Append("`CRM_SECRETS`")))
            .Select(m => m.Groups["name"].Value).ToHashSet(StringComparer.Ordinal);
        var read = new HashSet<string>(StringComparer.Ordinal);
        foreach (var service in Topology.Load(Topology.FindRoot()).Services)
        {
            read.UnionWith((await SettingsOfAsync(service.Name)).Select(s => s.Name));
        }

        Assert.Empty(documented.Except(read).Select(name => $"{name} is in the README, and no program reads it"));
        Assert.Empty(read.Except(documented).Select(name => $"{name} is read, and not in the README"));
    }

    [Theory]
    [InlineData("support", "ConnectionStrings__Database", "Host=", "ConnectionStrings:Database is not a connection string")]
    [InlineData("support", "Bus__Uri", "http://broker", "Bus:Uri is amqps://")]
    [InlineData("support", "Bus__RootCertificate", "/nowhere", "Bus:RootCertificate is of use with TLS only")]
    [InlineData("support", "Auth__PrivateKey", "no key", "Auth:PrivateKey is not a private key")]
    [InlineData("support", "Auth__TrustedKeys", "/nowhere", "Auth:TrustedKeys: there is no folder /nowhere")]
    [InlineData("support", "Peers__Contacts", "contacts", "Peers:Contacts is the gRPC address of a service")]
    [InlineData("campaigns", "Links__BaseUrl", "ftp://x", "Links:BaseUrl is an absolute address")]
    [InlineData("gateway", "Gateway__RequestsPerMinute", "0", "RequestsPerMinute")]
    [InlineData("gateway", "Gateway__AdminKey", "short", "Gateway:AdminKey is not sk_live_")]
    [InlineData("support", "Auth__PrivateKey", null, "Auth__PrivateKey is required and not set", false)]
    [InlineData("support", "Database__Port", "x", "Database:Port")]
    public async Task A_wrong_setting_keeps_the_program_from_starting_and_is_named_then_and_in_a_check(string service, string name, string? value, string expected, bool atStart = true)
    {
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var environment = new Dictionary<string, string?>
        {
            ["ConnectionStrings__Database"] = "Host=127.0.0.1;Port=1;Database=x;Username=x",
            ["Bus__Uri"] = "amqp://x:x@127.0.0.1:1/x",
            ["Auth__PrivateKey"] = key.ExportPkcs8PrivateKeyPem(),
            ["Auth__TrustedKeys"] = Path.GetTempPath(),
            ["Auth__GatewayJwks"] = "http://127.0.0.1:1/.well-known/jwks.json",
            ["Ports__Address"] = "127.0.0.1",
            ["Ports__Http"] = FreePort.Next().ToString(System.Globalization.CultureInfo.InvariantCulture),
            ["Ports__Grpc"] = "0",
            ["Smtp__Host"] = "127.0.0.1",
            ["Smtp__From"] = "a@b.example",
            ["Links__BaseUrl"] = "http://127.0.0.1:1",
        };
        foreach (var peer in new[] { "Contacts", "Interactions", "Campaigns", "BillingSync", "Support" })
        {
            environment[$"Peers__{peer}"] = environment[$"Services__{peer}"] = "http://127.0.0.1:1";
        }

        environment[name] = value;
        var result = await RunAsync(service, [], environment);
        Assert.Equal(1, result.ExitCode);
        if (atStart)
        {
            Assert.Contains(expected, result.Output, StringComparison.Ordinal);
        }

        // Before an upgrade, without a start; of the database, which is away, only where it is known which.
        var check = await RunAsync(service, ["--migrate", "--check"], environment);
        Assert.Equal(1, check.ExitCode);
        Assert.Contains(check.Output.Split('\n'), line => line.StartsWith("problem: ", StringComparison.Ordinal) && line.Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_script_makes_every_secret_that_the_trial_mounts_and_the_same_ones_again()
    {
        var first = await MakeSecretsAsync("trial");
        Assert.Equal(first.Text, (await MakeSecretsAsync("trial", first.Folder)).Text);
        var made = Manifests.Parse(first.Text);
        var manifests = await Manifests.OfAsync("overlays/trial");
        var volumes = manifests.Workloads.SelectMany(w => w.Pod["volumes"]!.AsArray()).ToList();
        var wanted = volumes.Select(v => (string?)v!["secret"]?["secretName"])
            .Concat(volumes.SelectMany(v => v!["projected"]?["sources"]?.AsArray() ?? []).Select(s => (string?)s!["secret"]?["name"])).OfType<string>().Distinct();
        Assert.Empty(wanted.Except(made.Where(o => Manifests.Kind(o) == "Secret").Select(Manifests.Name)));
        var keys = Assert.Single(made, o => Manifests.Kind(o) == "ConfigMap" && Manifests.Name(o) == "crm-trusted-keys");
        Assert.Equal(Topology.Load(Topology.FindRoot()).Services.Select(s => $"{s.Name}.pem").Order(StringComparer.Ordinal), keys["data"]!.AsObject().Select(k => k.Key).Order(StringComparer.Ordinal));
        Assert.DoesNotContain("PRIVATE", keys.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal("600", (await Shell.RunAsync(["stat", "-c", "%a", Path.Combine(first.Folder, "admin-key")], ct: TestContext.Current.CancellationToken)).Output.Trim());
    }

    [Fact]
    public async Task A_broker_user_has_rights_on_its_own_queues_and_what_a_publisher_must_bind_and_speaks_for_nobody_else()
    {
        var (_, folder) = await MakeSecretsAsync("trial");
        var definitions = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "definitions.json"), TestContext.Current.CancellationToken))!;
        var production = (await Manifests.OfAsync("overlays/production")).Of("Permission").ToDictionary(Manifests.Name, p => p["spec"]!["permissions"]!, StringComparer.Ordinal);
        var queues = EventCatalog.All.SelectMany(r => r.Queues).Distinct(StringComparer.Ordinal).ToList();
        foreach (var rights in definitions["permissions"]!.AsArray().Select(r => r!))
        {
            var user = (string)rights["user"]!;
            var mine = queues.Where(q => q.StartsWith($"crm.{user}.", StringComparison.Ordinal)).Concat(EventCatalog.PublishedBy(user).SelectMany(r => r.Queues)).Distinct(StringComparer.Ordinal);
            bool May(string right, string name) => Regex.IsMatch(name, (string)rights[right]!, RegexOptions.None, TimeSpan.FromSeconds(10));
            Assert.All(EventCatalog.All, r => Assert.True(May("configure", r.Exchange) && May("read", r.Exchange), r.Exchange));
            Assert.All(EventCatalog.All, r => Assert.Equal(r.Publisher == user, May("write", r.Exchange)));
            foreach (var right in new[] { "configure", "write", "read" })
            {
                Assert.Equal(mine.Order(StringComparer.Ordinal), queues.Where(q => May(right, q)).Order(StringComparer.Ordinal));
                Assert.True(right == "read" || May(right, "host_program_bus_1"), $"{user}: {right}");
                Assert.Equal((string?)rights[right], (string?)production[user][right]);
            }
        }
    }

    /// <summary>By a second administrator, or on another machine: a server keeps the passwords that it was first given, and programs trust the keys that they know.</summary>
    [Theory]
    [InlineData("trial")]
    [InlineData("production")]
    public async Task Secrets_that_the_cluster_has_are_read_back_and_only_what_it_lacks_is_made(string overlay)
    {
        var first = await MakeSecretsAsync(overlay);
        var made = Manifests.Parse(first.Text);
        var second = await AskClusterAsync(made, overlay);
        Assert.True(second.ExitCode == 0, second.Output);
        Assert.Equal(first.Text, second.Output);

        // A signing key that is lost is made anew; what it signed is shown still, so its public half stays.
        var lacking = await AskClusterAsync([.. made.Where(o => Manifests.Name(o) != "crm-support")], overlay);
        Assert.True(lacking.ExitCode == 0, lacking.Output);
        var now = Manifests.Parse(lacking.Output);
        Assert.Equal(made.Count, now.Count);
        foreach (var (before, after) in made.Zip(now).Where(p => Manifests.Name(p.First) is not ("crm-support" or "crm-trusted-keys" or "rabbitmq")))
        {
            Assert.True(JsonNode.DeepEquals(before, after), Manifests.Name(before));
        }

        string Trusted(IReadOnlyList<JsonObject> objects) => (string)objects.Single(o => Manifests.Kind(o) == "ConfigMap")["data"]!["support.pem"]!;
        Assert.EndsWith(Trusted(made), Trusted(now), StringComparison.Ordinal);
        Assert.Equal(2 * Trusted(made).Length, Trusted(now).Length);
    }

    [Fact]
    public async Task Other_secrets_than_the_cluster_s_are_not_put_in_their_place()
    {
        var made = Manifests.Parse((await MakeSecretsAsync("trial")).Text);
        var (_, folder) = await MakeSecretsAsync("trial");
        var result = await AskClusterAsync(made, "trial", folder);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("has others than", result.Output, StringComparison.Ordinal);
        Assert.Contains(" postgres-support ", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("kind: Secret", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cluster_that_cannot_be_asked_gets_no_new_secrets_unless_it_is_said_to_be_new()
    {
        var folder = Reaper.TemporaryFolder("secrets");
        var result = await AskClusterAsync(null, "trial", folder);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("trial --new", result.Output, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(folder));

        // One that answers, and has none: the pipe of a first install.
        var first = await AskClusterAsync([], "trial", folder);
        Assert.True(first.ExitCode == 0, first.Output);
        Assert.Equal(first.Output, (await MakeSecretsAsync("trial", folder)).Text);
    }

    /// <summary>As for a first install, with no cluster.</summary>
    internal static async Task<(string Text, string Folder)> MakeSecretsAsync(string overlay, string? folder = null)
    {
        folder ??= Path.Combine(Reaper.TemporaryFolder("secrets"), overlay);
        var result = await Shell.RunAsync(["bash", Path.Combine(Manifests.Folder, "make-secrets.sh"), overlay, "--new"], new Dictionary<string, string?> { ["CRM_SECRETS_FOLDER"] = folder }, ct: TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, result.Output);
        return (result.Output, folder);
    }

    /// <summary>The script beside what stands for a cluster with these objects; null: for one that does not answer. Of a success, what it wrote for kubectl alone.</summary>
    private static async Task<ShellResult> AskClusterAsync(IReadOnlyList<JsonObject>? live, string overlay, string? folder = null)
    {
        var ct = TestContext.Current.CancellationToken;
        var cluster = Reaper.TemporaryFolder("cluster");
        // As the templates that the script gives kubectl write them.
        await File.WriteAllLinesAsync(Path.Combine(cluster, "secrets"), (live ?? []).Where(o => Manifests.Kind(o) == "Secret")
            .SelectMany(o => o["data"]!.AsObject().Select(d => $"{Manifests.Name(o)} {d.Key} {(string?)d.Value}")), ct);
        await File.WriteAllLinesAsync(Path.Combine(cluster, "keys"), (live ?? []).Where(o => Manifests.Kind(o) == "ConfigMap")
            .SelectMany(o => o["data"]!.AsObject().Select(d => $"--{d.Key}\n{(string?)d.Value}")), ct);
        await File.WriteAllTextAsync(Path.Combine(cluster, "kubectl"), $"""
            #!/bin/sh
            case "$1 $2" in
              "get secrets") {(live is null ? "exit 1" : $"cat '{cluster}/secrets'")} ;;
              "get configmap") cat '{cluster}/keys' ;;
              config*) echo here ;;
            esac

            """, ct);
        Assert.Equal(0, (await Shell.RunAsync(["chmod", "+x", Path.Combine(cluster, "kubectl")], ct: ct)).ExitCode);
        var environment = new Dictionary<string, string?>
        {
            ["PATH"] = $"{cluster}:{Environment.GetEnvironmentVariable("PATH")}", ["CRM_SECRETS_FOLDER"] = folder ?? Path.Combine(Reaper.TemporaryFolder("secrets"), overlay),
        };
        // Shown on a failure only: what it says of what it read is on standard error.
        const string Apart = "errors=$(mktemp); bash \"$0\" \"$1\" 2>\"$errors\" || { code=$?; cat \"$errors\"; exit $code; }";
        return await Shell.RunAsync(["sh", "-c", Apart, Path.Combine(Manifests.Folder, "make-secrets.sh"), overlay], environment, cluster, ct);
    }

    /// <summary>Name, and whether the program starts without it.</summary>
    internal static Task<IReadOnlyList<(string Name, bool Required)>> SettingsOfAsync(string service) => Known.GetOrAdd(service, AskAsync);

    private static async Task<IReadOnlyList<(string Name, bool Required)>> AskAsync(string service)
    {
        // What it reads does not depend on what it is given; without addresses of services the gateway makes no routes.
        var environment = Topology.Load(Topology.FindRoot())[service].Environment.Where(e => e.Key.StartsWith("Services__", StringComparison.Ordinal))
            .Append(new("Logging__LogLevel__Default", "Warning")).ToDictionary(e => e.Key, e => (string?)e.Value, StringComparer.Ordinal);
        var result = await RunAsync(service, ["--settings"], environment);
        Assert.True(result.ExitCode == 0, result.Output);
        return [.. result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split('\t')).Select(p => (p[0], p[1] == "required"))];
    }

    private static Task<ShellResult> RunAsync(string service, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string?> environment)
    {
        var topology = Topology.Load(Topology.FindRoot());
        var command = topology[service].Command(topology.Root, "Release") ?? throw new InvalidOperationException($"{service} is not built.");
        return Shell.RunAsync([.. command, .. arguments], new Dictionary<string, string?>(environment) { ["CRM_SECRETS"] = null }, Path.GetTempPath(), TestContext.Current.CancellationToken);
    }

    /// <summary>The keys of each secret: of the script, and of the operators as their documentation has them.</summary>
    private static async Task<Dictionary<string, string[]>> SecretsOfAsync(string overlay)
    {
        var made = Manifests.Parse((await MakeSecretsAsync(overlay["overlays/".Length..])).Text).Where(o => Manifests.Kind(o) == "Secret");
        var secrets = made.ToDictionary(Manifests.Name, o => o["data"]!.AsObject().Select(d => d.Key).ToArray(), StringComparer.Ordinal);
        foreach (var service in Topology.Load(Topology.FindRoot()).Services)
        {
            secrets[$"{service.Name}-db-app"] = ["username", "password", "dbname", "host", "port", "uri", "jdbc-uri", "pgpass"];
            secrets[$"{service.Name}-user-credentials"] = ["username", "password"];
        }

        return secrets;
    }

    /// <summary>The files that the pod finds in the folder that CRM_SECRETS names.</summary>
    private static IEnumerable<string> Files(Workload workload, Dictionary<string, string[]> secrets)
    {
        var volume = workload.Pod["volumes"]!.AsArray().Single(v => (string?)v!["name"] == "secrets")!;
        var sources = volume["secret"] is { } alone ? [(Name: (string)alone["secretName"]!, Items: alone["items"])]
            : volume["projected"]!["sources"]!.AsArray().Where(s => s!["secret"] is not null).Select(s => (Name: (string)s!["secret"]!["name"]!, Items: s["secret"]!["items"]));
        foreach (var (name, items) in sources)
        {
            Assert.True(secrets.ContainsKey(name), $"{workload}: nobody makes the secret {name}");
            foreach (var item in items?.AsArray() ?? [])
            {
                Assert.Contains((string)item!["key"]!, secrets[name]);
            }

            foreach (var file in items is null ? secrets[name] : items.AsArray().Select(i => (string)i!["path"]!))
            {
                yield return file;
            }
        }
    }

    /// <summary><c>Oidc__Issuers__0__Name</c> is any index, <c>RoleScopes__NAME</c> any key.</summary>
    private static bool Names(string setting, string variable) =>
        Regex.IsMatch(variable, $"^{Regex.Escape(setting).Replace("__0", "__[0-9]+", StringComparison.Ordinal).Replace("__NAME", "__[A-Za-z-]+", StringComparison.Ordinal)}$", RegexOptions.None, TimeSpan.FromSeconds(10));

    [GeneratedRegex("`(?<name>[A-Za-z_0-9]+)`", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Code();
}
