using System.Collections.Concurrent;
using System.Diagnostics;

namespace Crm.Runner.Bench;

/// <summary>Operations per second and latencies of one series of calls.</summary>
/// <param name="P50">Milliseconds.</param>
public sealed record Series(double PerSecond, double P50, double P99)
{
    public double P95 { get; private init; }

    public static Series Of(IReadOnlyCollection<double> milliseconds, TimeSpan time)
    {
        var sorted = milliseconds.Order().ToArray();
        return new(sorted.Length / time.TotalSeconds, At(0.50), At(0.99)) { P95 = At(0.95) };

        double At(double share) => sorted.Length == 0 ? double.NaN : sorted[Math.Min(sorted.Length - 1, (int)(sorted.Length * share))];
    }

    /// <summary>The series with the median throughput.</summary>
    public static Series Median(IEnumerable<Series> rounds)
    {
        var sorted = rounds.OrderBy(s => s.PerSecond).ToArray();
        return sorted[sorted.Length / 2];
    }
}

public static class Measure
{
    /// <summary>Calls <paramref name="operation"/> from this many clients for this long, each client one call at a time.</summary>
    public static async Task<Series> LoopAsync(int clients, TimeSpan time, Func<CancellationToken, Task> operation, CancellationToken ct = default)
    {
        var latencies = new ConcurrentBag<double>();
        var start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(
            async () =>
            {
                while (Stopwatch.GetElapsedTime(start) < time)
                {
                    var begun = Stopwatch.GetTimestamp();
                    await operation(ct);
                    latencies.Add(Stopwatch.GetElapsedTime(begun).TotalMilliseconds);
                }
            },
            ct)));
        return Series.Of(latencies, Stopwatch.GetElapsedTime(start));
    }
}
