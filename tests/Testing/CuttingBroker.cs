using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Crm.Testing;

/// <summary>
/// Stands between a service and its broker, and ends connections in the worst moment: right after they were opened, as a
/// broker does that is told to (<c>connection.close</c>, 320), before the client knows that it has them.
/// </summary>
public sealed class CuttingBroker : IAsyncDisposable
{
    private const int OpenOk = (10 << 16) | 41;

    private readonly int _broker;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private int _toCut;
    private int _cut;

    private CuttingBroker(int broker)
    {
        _broker = broker;
        _listener.Start();
        _accepting = Task.Run(AcceptAsync);
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Connections that were ended so far.</summary>
    public int Cut => Volatile.Read(ref _cut);

    public static CuttingBroker Before(int broker) => new(broker);

    /// <summary>The next so many connections end as they open; later ones pass.</summary>
    public void CutNext(int connections) => Volatile.Write(ref _toCut, connections);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            var client = await _listener.AcceptTcpClientAsync(_stop.Token);
            _ = Task.Run(() => ServeAsync(client));
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        using (client)
        using (var broker = new TcpClient())
        {
            try
            {
                await broker.ConnectAsync(IPAddress.Loopback, _broker, ended.Token);
                var up = client.GetStream().CopyToAsync(broker.GetStream(), ended.Token);
                await await Task.WhenAny(up, DownAsync(broker.GetStream(), client.GetStream(), ended.Token));
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // One side is gone, so the other goes too.
            }

            await ended.CancelAsync();
        }
    }

    /// <summary>Frame by frame: type, channel, size, payload, end mark (AMQP 0-9-1, 4.2.3).</summary>
    private async Task DownAsync(NetworkStream from, NetworkStream to, CancellationToken ct)
    {
        var head = new byte[7];
        while (true)
        {
            await from.ReadExactlyAsync(head, ct);
            var rest = new byte[BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(3)) + 1];
            await from.ReadExactlyAsync(rest, ct);
            var opened = head[0] == 1 && head[2] == 0 && rest.Length > 4 && BinaryPrimitives.ReadInt32BigEndian(rest) == OpenOk;
            if (opened && Interlocked.Decrement(ref _toCut) >= 0)
            {
                await to.WriteAsync((byte[])[.. head, .. rest, .. Close()], ct);
                Interlocked.Increment(ref _cut);
                await Task.Delay(TimeSpan.FromMilliseconds(200), ct);
                return;
            }

            await to.WriteAsync((byte[])[.. head, .. rest], ct);
        }
    }

    private static byte[] Close()
    {
        var text = "CONNECTION_FORCED - cut"u8;
        byte[] payload = [0, 10, 0, 50, 1, 64, (byte)text.Length, .. text, 0, 0, 0, 0];
        return [1, 0, 0, 0, 0, 0, (byte)payload.Length, .. payload, 0xCE];
    }
}
