using Yarp.ReverseProxy.Configuration;

namespace Crm.Gateway.Proxy;

/// <summary>A cluster is a service; where it listens is <c>Services:&lt;cluster&gt;</c>.</summary>
internal sealed class ServiceAddresses(IConfiguration configuration) : IProxyConfigFilter
{
    public ValueTask<ClusterConfig> ConfigureClusterAsync(ClusterConfig cluster, CancellationToken cancel)
    {
        var address = configuration[$"Services:{cluster.ClusterId}"] ?? throw new InvalidOperationException($"Services:{cluster.ClusterId} is not configured.");
        return new(cluster with
        {
            Destinations = new Dictionary<string, DestinationConfig>(StringComparer.Ordinal) { ["service"] = new() { Address = address } },
        });
    }

    public ValueTask<RouteConfig> ConfigureRouteAsync(RouteConfig route, ClusterConfig? cluster, CancellationToken cancel) => new(route);
}
