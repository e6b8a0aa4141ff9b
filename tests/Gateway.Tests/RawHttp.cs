using System.Net.Sockets;
using System.Text;

namespace Gateway.Tests;

/// <summary>Bytes as they are: what no HTTP client would send.</summary>
internal static class RawHttp
{
    public static Task<string> SendAsync(Uri server, string request) => SendAsync(server, Encoding.Latin1.GetBytes(request));

    /// <summary>
    /// What came back until the server closed, for which it has half a minute; where it keeps the connection after a whole
    /// answer, another three seconds are left for a second one.
    /// </summary>
    public static async Task<string> SendAsync(Uri server, byte[] request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(server.Host, server.Port);
        var stream = client.GetStream();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var writing = UnlessCutAsync(() => stream.WriteAsync(request, limit.Token).AsTask());
        var answer = "";
        await UnlessCutAsync(async () =>
        {
            var buffer = new byte[16_384];
            for (int read; (read = await stream.ReadAsync(buffer, limit.Token)) > 0;)
            {
                answer += Encoding.Latin1.GetString(buffer, 0, read);
                if (IsWhole(answer))
                {
                    limit.CancelAfter(TimeSpan.FromSeconds(3));
                }
            }
        });
        await writing;
        return answer;
    }

    private static async Task UnlessCutAsync(Func<Task> exchange)
    {
        try
        {
            await exchange();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The server cut the connection, or keeps it open.
        }
    }

    /// <summary>By its length, or by its last chunk (RFC 9112, section 6).</summary>
    private static bool IsWhole(string answer)
    {
        const string Length = "Content-Length:";
        var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
        {
            return false;
        }

        var length = answer[..end].Split("\r\n").FirstOrDefault(h => h.StartsWith(Length, StringComparison.OrdinalIgnoreCase));
        return length is null ? answer.EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal) : answer.Length - end - 4 >= int.Parse(length[Length.Length..]);
    }
}
