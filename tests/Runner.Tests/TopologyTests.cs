using System.Text.RegularExpressions;
using Crm.Runner;

namespace Runner.Tests;

public sealed partial class TopologyTests
{
    private static readonly Topology Topology = Topology.Load(Topology.FindRoot());

    [Fact]
    public void Every_project_of_tye_yaml_exists() =>
        Assert.All(Topology.Entries.Where(e => e.Project is not null), e => Assert.True(File.Exists(Path.Combine(Topology.Root, e.Project!)), e.Project));

    [Fact]
    public void Every_loopback_address_in_tye_yaml_is_a_binding_of_it()
    {
        var ports = Topology.Entries.SelectMany(e => e.Bindings).Select(b => b.Port).ToHashSet();
        foreach (var (name, value) in Topology.Entries.SelectMany(e => e.Environment))
            Assert.All(LoopbackPort().Matches(value), m => Assert.True(ports.Contains(int.Parse(m.Groups[1].Value)), $"{name}={value}"));
    }

    [Fact]
    public void No_two_bindings_share_a_port()
    {
        var ports = Topology.Entries.SelectMany(e => e.Bindings).Select(b => b.Port).ToList();
        Assert.Equal(ports.Count, ports.Distinct().Count());
    }

    [Fact]
    public void Addresses_follow_the_ports_in_use()
    {
        var ports = PortMap.Free(Topology);

        var gateway = Topology.EnvironmentOf(Topology["gateway"], ports).ToDictionary();
        var campaigns = Topology.EnvironmentOf(Topology["campaigns"], ports).ToDictionary();

        Assert.Equal($"http://127.0.0.1:{ports["contacts", "http"]}", gateway["Services__Contacts"]);
        Assert.Equal($"http://127.0.0.1:{ports["contacts", "grpc"]}", gateway["Peers__Contacts"]);
        Assert.Equal($"http://127.0.0.1:{ports["gateway", "http"]}/.well-known/jwks.json", campaigns["Auth__GatewayJwks"]);
        Assert.Equal($"{ports["smtp", "smtp"]}", campaigns["Smtp__Port"]);
    }

    [Fact]
    public void Unmoved_ports_leave_the_file_as_it_is()
    {
        var ports = PortMap.FromEnvironment(Topology);

        Assert.All(Topology.Entries, e => Assert.Equal(e.Environment, Topology.EnvironmentOf(e, ports)));
    }

    [Theory]
    [InlineData("gateway", "http", "CRM_PORT_GATEWAY")]
    [InlineData("billing-sync", "grpc", "CRM_PORT_BILLING_SYNC_GRPC")]
    public void The_variable_that_moves_a_port_is_named_for_service_and_binding(string service, string binding, string variable)
    {
        var entry = Topology[service];
        Assert.Equal(variable, PortMap.VariableName(entry, entry.Bindings.Single(b => b.Name == binding)));
    }

    [GeneratedRegex(@"127\.0\.0\.1:(\d+)")]
    private static partial Regex LoopbackPort();
}
