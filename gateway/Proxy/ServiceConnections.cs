using System.Net.Sockets;

namespace Crm.Gateway.Proxy;

/// <summary>
/// Connections to a service that has several replicas behind one address. When one has just died, its address refuses for the
/// moment until the others are told; trying once more meets one that lives. Nothing was sent yet, so it is safe for any request.
/// </summary>
internal static class ServiceConnections
{
    private const int Attempts = 3;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    public static async ValueTask<Stream> OpenAsync(SocketsHttpConnectionContext context, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(context.DnsEndPoint, ct);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException) when (attempt < Attempts)
            {
                socket.Dispose();
                await Task.Delay(Pause, TimeProvider.System, ct);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }
}
