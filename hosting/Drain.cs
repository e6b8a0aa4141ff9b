using System.ComponentModel.DataAnnotations;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Crm.Hosting;

/// <summary>Section <c>Shutdown</c>.</summary>
public sealed class ShutdownOptions
{
    /// <summary>
    /// How long a process that was asked to stop goes on serving, not ready, before it takes no more requests: load
    /// balancers need a few seconds to hear of it.
    /// </summary>
    [Range(0, 20)]
    public int DrainSeconds { get; init; }
}

/// <summary>Runs between the signal, after which the process is not ready, and the end of its server.</summary>
internal sealed class Drain(IOptions<ShutdownOptions> options, TimeProvider clock) : IHostedLifecycleService
{
    public Task StoppingAsync(CancellationToken cancellationToken) =>
        Task.Delay(TimeSpan.FromSeconds(options.Value.DrainSeconds), clock, cancellationToken);

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

/// <summary>
/// Whoever calls while the process drains is told to leave the connection it came on. Without it connections of busy callers
/// stay in use until the server closes them, and a request that is on its way in that moment gets no answer.
/// </summary>
internal static class DrainingConnections
{
    /// <summary>HTTP/2: GOAWAY; what is under way on the connection is answered.</summary>
    public static void Leave(HttpContext http)
    {
        if (HttpProtocol.IsHttp2(http.Request.Protocol))
        {
            http.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
        }
    }

    /// <summary>HTTP/1.1; when the answer starts.</summary>
    public static void Close(HttpContext http)
    {
        if (HttpProtocol.IsHttp11(http.Request.Protocol))
        {
            http.Response.Headers.Connection = "close";
        }
    }
}
