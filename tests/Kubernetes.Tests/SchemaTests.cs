using System.Text.Json.Nodes;
using Crm.Testing;

namespace Kubernetes.Tests;

public sealed class SchemaTests
{
    /// <summary>Kinds of operators, which the definitions of a bare cluster do not have.</summary>
    private static readonly Dictionary<string, string[]> OfOperators = new(StringComparer.Ordinal)
    {
        ["postgresql.cnpg.io/v1"] = ["Cluster", "ScheduledBackup"],
        ["barmancloud.cnpg.io/v1"] = ["ObjectStore"],
        ["rabbitmq.com/v1beta1"] = ["RabbitmqCluster", "Vhost", "User", "Permission", "Policy", "Queue", "Exchange", "Binding"],
        ["cert-manager.io/v1"] = ["Issuer", "Certificate"],
        ["kyverno.io/v1"] = ["Policy"],
    };

    /// <summary>
    /// The fields of their specs that are used here, as the operators' own definitions and documentation spell them: whoever uses another
    /// one looks it up there first. Behind <c>.*</c> is what the operator hands on, or what has Kubernetes' own types.
    /// </summary>
    private static readonly Dictionary<string, string> FieldsOfOperators = new(StringComparer.Ordinal)
    {
        ["postgresql.cnpg.io/v1 Cluster"] = """
            instances imageName imagePullSecrets.* enablePDB priorityClassName resources.* storage.size affinity.podAntiAffinityType
            bootstrap.initdb.database bootstrap.initdb.owner bootstrap.initdb.encoding bootstrap.initdb.localeCollate bootstrap.initdb.localeCType
            bootstrap.initdb.dataChecksums postgresql.synchronous.method postgresql.synchronous.number postgresql.synchronous.dataDurability
            postgresql.synchronous.failoverQuorum postgresql.pg_hba postgresql.parameters.* plugins.name plugins.isWALArchiver plugins.parameters.*
            """,
        ["postgresql.cnpg.io/v1 ScheduledBackup"] = "schedule immediate cluster.name method pluginConfiguration.name",
        ["barmancloud.cnpg.io/v1 ObjectStore"] = """
            configuration.destinationPath configuration.endpointURL configuration.s3Credentials.accessKeyId.name configuration.s3Credentials.accessKeyId.key
            configuration.s3Credentials.secretAccessKey.name configuration.s3Credentials.secretAccessKey.key configuration.wal.compression
            configuration.data.compression retentionPolicy
            """,
        ["rabbitmq.com/v1beta1 RabbitmqCluster"] = """
            replicas image imagePullSecrets.* resources.* persistence.storage affinity.* tls.secretName tls.disableNonTLSListeners
            rabbitmq.additionalPlugins rabbitmq.additionalConfig rabbitmq.envConfig override.statefulSet.spec.template.*
            """,
        ["rabbitmq.com/v1beta1 Vhost"] = "name defaultQueueType rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 User"] = "rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 Permission"] = "vhost userReference.name permissions.configure permissions.write permissions.read rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 Policy"] = "name vhost pattern applyTo definition.* rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 Queue"] = "name vhost type durable arguments.* rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 Exchange"] = "name vhost type durable rabbitmqClusterReference.name",
        ["rabbitmq.com/v1beta1 Binding"] = "vhost source destination destinationType rabbitmqClusterReference.name",
        ["cert-manager.io/v1 Issuer"] = "selfSigned.* ca.secretName acme.server acme.email acme.privateKeySecretRef.name acme.solvers.http01.ingress.ingressClassName",
        ["cert-manager.io/v1 Certificate"] = """
            isCA commonName secretName duration dnsNames issuerRef.name issuerRef.kind privateKey.algorithm privateKey.size privateKey.rotationPolicy
            """,
        ["kyverno.io/v1 Policy"] = """
            validationFailureAction failurePolicy background webhookTimeoutSeconds rules.name rules.match.any.resources.kinds rules.validate.message
            rules.validate.pattern.* rules.verifyImages.imageReferences rules.verifyImages.mutateDigest rules.verifyImages.verifyDigest
            rules.verifyImages.required rules.verifyImages.imageRegistryCredentials.secrets rules.verifyImages.attestors.entries.keys.publicKeys
            rules.verifyImages.attestors.entries.keys.rekor.ignoreTlog rules.verifyImages.attestors.entries.keys.ctlog.ignoreSCT
            """,
    };

    public static TheoryData<string> Overlays => [.. Manifests.Overlays];

    [Theory, MemberData(nameof(Overlays))]
    public async Task An_API_server_of_1_32_knows_every_field(string overlay)
    {
        var schema = KubernetesSchema.Load(SharedData.Require("k8s/k8s-1.32.3-definitions.json"));
        var manifests = await Manifests.OfAsync(overlay);
        var unknown = manifests.Objects.Where(o => !schema.Knows(o)).Where(o => !OfOperators.GetValueOrDefault((string)o["apiVersion"]!, []).Contains(Manifests.Kind(o)));
        Assert.Empty(unknown.Select(o => $"{o["apiVersion"]} {Manifests.Kind(o)}"));
        Assert.Empty(manifests.Objects.Where(schema.Knows).SelectMany(schema.Check));
    }

    [Theory, MemberData(nameof(Overlays))]
    public async Task An_operator_knows_every_field_of_what_is_its_own(string overlay) =>
        Assert.Empty((await Manifests.OfAsync(overlay)).Objects.SelectMany(UnknownOfOperators));

    [Fact]
    public void A_misspelt_field_of_an_operator_is_seen()
    {
        var wrong = Manifests.Parse("""
            apiVersion: postgresql.cnpg.io/v1
            kind: Cluster
            metadata: { name: wrong }
            spec:
              instances: 3
              priorityClass: crm
              postgresql: { parameters: { anything: "1" }, synchronous: { methods: any } }
              plugins: [{ name: a, isWalArchiver: true }]
            """)[0];
        Assert.Equal(["Cluster wrong.spec.plugins.isWalArchiver", "Cluster wrong.spec.postgresql.synchronous.methods", "Cluster wrong.spec.priorityClass"],
            UnknownOfOperators(wrong).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_wrong_manifest_is_seen()
    {
        var schema = KubernetesSchema.Load(SharedData.Require("k8s/k8s-1.32.3-definitions.json"));
        var wrong = Manifests.Parse("""
            apiVersion: apps/v1
            kind: Deployment
            metadata: { name: wrong }
            spec:
              replicas: "2"
              selector: { matchLabels: { a: b } }
              template:
                spec:
                  containers:
                    - { image: x, readOnly: true, ports: 8080 }
            """)[0];
        Assert.Equal(
            ["Deployment wrong.spec.replicas is not a whole number", "Deployment wrong.spec.template.spec.containers[0].name is missing",
             "Deployment wrong.spec.template.spec.containers[0].ports is not a list", "Deployment wrong.spec.template.spec.containers[0].readOnly is not a field"],
            schema.Check(wrong).Order(StringComparer.Ordinal));
    }

    private static IEnumerable<string> UnknownOfOperators(JsonObject o)
    {
        if (!FieldsOfOperators.TryGetValue($"{o["apiVersion"]} {Manifests.Kind(o)}", out var text))
        {
            return OfOperators.GetValueOrDefault((string)o["apiVersion"]!, []).Contains(Manifests.Kind(o)) ? [$"{Manifests.Kind(o)}: its fields are not listed here"] : [];
        }

        var fields = text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return Paths(o["spec"], "").Where(path => !fields.Any(f => f.EndsWith(".*", StringComparison.Ordinal) ? $"{path}.".StartsWith(f[..^1], StringComparison.Ordinal) : f == path))
            .Distinct(StringComparer.Ordinal).Select(path => $"{Manifests.Kind(o)} {Manifests.Name(o)}.spec.{path}");
    }

    /// <summary>Of the fields that have no others in them; an item of a list has the list's.</summary>
    private static IEnumerable<string> Paths(JsonNode? node, string path) => node switch
    {
        JsonObject { Count: > 0 } fields => fields.SelectMany(f => Paths(f.Value, path.Length == 0 ? f.Key : $"{path}.{f.Key}")),
        JsonArray { Count: > 0 } items => items.SelectMany(i => Paths(i, path)),
        _ => [path],
    };
}
