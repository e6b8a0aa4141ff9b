using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Crm.Runner.Rollouts;

/// <summary>
/// Counts every call that a client makes, also those that its caller sends again: one that got no whole answer, or 429 or 5xx,
/// has failed, whatever the next attempt brings.
/// </summary>
internal sealed class EveryCall() : DelegatingHandler(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false })
{
    private readonly ConcurrentQueue<string> _failed = [];
    private readonly ConcurrentBag<double> _milliseconds = [];

    public int Count => _milliseconds.Count;

    /// <summary>What each failed call was, and when.</summary>
    public IReadOnlyCollection<string> Failed => _failed;

    /// <summary>Milliseconds, of all calls.</summary>
    public Bench.Series Latencies => Bench.Series.Of(_milliseconds, TimeSpan.FromSeconds(1));

    public void Fail(string what) => _failed.Enqueue(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {what}"));

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        try
        {
            var response = await base.SendAsync(request, cancellationToken);
            await response.Content.LoadIntoBufferAsync(cancellationToken);
            if ((int)response.StatusCode is 429 or >= 500)
                Fail($"{request.Method} {request.RequestUri!.AbsolutePath} answered {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync(cancellationToken)}");
            return response;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested || e is not OperationCanceledException)
        {
            Fail($"{request.Method} {request.RequestUri!.AbsolutePath} got no answer: {e.GetBaseException().Message}");
            throw;
        }
        finally
        {
            _milliseconds.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
    }
}
