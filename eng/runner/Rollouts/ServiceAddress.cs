using System.Net;
using System.Net.Sockets;

namespace Crm.Runner.Rollouts;

/// <summary>
/// One address for the replicas of a service, as a Service of Kubernetes is one: each new connection goes to any replica that is
/// ready, and stays with it. Of a replica that stops it hears by the readiness probe alone, up to a second late. It knows nothing
/// of requests, and tries nothing again: a replica that refuses a connection is the caller's to see.
/// </summary>
internal sealed class ServiceAddress : IAsyncDisposable
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<ServiceProcess, bool> _replicas = [];
    private readonly List<Socket> _listeners = [];
    private readonly Task _probing;

    /// <param name="grpc">Null for the gateway, which has none.</param>
    public ServiceAddress(int http, int? grpc)
    {
        Listen(http, replica => replica.HttpAddress.Port);
        if (grpc is { } port)
            Listen(port, replica => replica.GrpcAddress!.Port);
        _probing = ProbeAsync();
    }

    /// <summary>Adds a replica, and waits until connections may go to it.</summary>
    public async Task AddAsync(ServiceProcess replica, CancellationToken ct)
    {
        lock (_gate)
            _replicas.Add(replica, false);
        while (true)
        {
            lock (_gate)
            {
                if (_replicas[replica])
                    return;
            }

            await Task.Delay(50, ct);
        }
    }

    /// <summary>After the end of the replica.</summary>
    public void Remove(ServiceProcess replica)
    {
        lock (_gate)
            _replicas.Remove(replica);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listeners.ForEach(l => l.Dispose());
        await _probing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task ProbeAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            ServiceProcess[] replicas;
            lock (_gate)
                replicas = [.. _replicas.Keys];
            await Task.WhenAll(replicas.Select(async replica =>
            {
                var (ready, _) = await replica.ProbeAsync(_stop.Token);
                lock (_gate)
                {
                    if (_replicas.ContainsKey(replica))
                        _replicas[replica] = ready;
                }
            }));
            await Task.Delay(Period, _stop.Token);
        }
    }

    private void Listen(int port, Func<ServiceProcess, int> portOf)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, port));
        listener.Listen(512);
        _listeners.Add(listener);
        _ = Task.Run(async () =>
        {
            while (!_stop.IsCancellationRequested)
                _ = ServeAsync(await listener.AcceptAsync(_stop.Token), portOf);
        });
    }

    private async Task ServeAsync(Socket caller, Func<ServiceProcess, int> portOf)
    {
        using var replica = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        caller.NoDelay = true;
        try
        {
            if (Any() is not { } chosen)
            {
                caller.Close(0);
                return;
            }

            await replica.ConnectAsync(IPAddress.Loopback, portOf(chosen), _stop.Token);
            await Task.WhenAll(PassAsync(caller, replica), PassAsync(replica, caller));
            caller.Dispose();
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // A time of zero makes it a reset, which is what the other side has had.
            caller.Close(0);
            replica.Close(0);
        }
    }

    private ServiceProcess? Any()
    {
        lock (_gate)
        {
            var ready = _replicas.Where(r => r.Value).Select(r => r.Key).ToArray();
            return ready.Length == 0 ? null : ready[Random.Shared.Next(ready.Length)];
        }
    }

    private async Task PassAsync(Socket from, Socket to)
    {
        await using var source = new NetworkStream(from);
        await using var target = new NetworkStream(to);
        try
        {
            await source.CopyToAsync(target, 16 * 1024, _stop.Token);
            to.Shutdown(SocketShutdown.Send);
        }
        catch
        {
            from.Close(0);
            to.Close(0);
            throw;
        }
    }
}
