using System.Net.Sockets;
using System.Text;

namespace Gateway.Tests;

/// <summary>Bytes as they are: what no HTTP client would send.</summary>
internal static class RawHttp
{
    public static Task<string> SendAsync(Uri server, string request) => SendAsync(server, Encoding.Latin1.GetBytes(request));

    /// <summary>What came back until the server closed, or three seconds had passed.</summary>
    public static async Task<string> SendAsync(Uri server, byte[] request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(server.Host, server.Port);
        var stream = client.GetStream();
        var answer = new MemoryStream();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(3));
        var reading = stream.CopyToAsync(answer, limit.Token);
        try
        {
            await stream.WriteAsync(request, limit.Token);
            await reading;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The server cut the connection, or keeps it open.
        }

        return Encoding.Latin1.GetString(answer.ToArray());
    }
}
