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
}
