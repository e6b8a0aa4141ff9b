using Yarp.ReverseProxy.Configuration;

namespace Crm.Gateway.Proxy;

/// <summary>
/// A cluster is the service of its name, or the one that its metadata name: one that is called in another way there. Where a
/// service listens is <c>Services:&lt;service&gt;</c>.
/// </summary>
internal sealed class ServiceAddresses(IConfiguration configuration) : IProxyConfigFilter
{
    private const string Service = "Service";

    /// <summary>All that the configuration has clusters of.</summary>
    public static IEnumerable<string> ServicesOf(IConfiguration configuration) =>
        configuration.GetSection("ReverseProxy:Clusters").GetChildren().Select(c => c[$"Metadata:{Service}"] ?? c.Key).Distinct(StringComparer.Ordinal);

    public ValueTask<ClusterConfig> ConfigureClusterAsync(ClusterConfig cluster, CancellationToken cancel)
    {
        var service = cluster.Metadata?.GetValueOrDefault(Service) ?? cluster.ClusterId;
        var address = configuration[$"Services:{service}"] ?? throw new InvalidOperationException($"Services:{service} is not configured.");
        return new(cluster with
        {
            Destinations = new Dictionary<string, DestinationConfig>(StringComparer.Ordinal) { ["service"] = new() { Address = address } },
        });
    }

    public ValueTask<RouteConfig> ConfigureRouteAsync(RouteConfig route, ClusterConfig? cluster, CancellationToken cancel) => new(route);
}
