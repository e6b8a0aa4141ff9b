using FsCheck.Fluent;

namespace Crm.Runner.Histories;

/// <param name="Acknowledged">Calls.</param>
public sealed record HistoryReport(int Histories, int Acknowledged, IReadOnlyList<string> Faults, IReadOnlyList<string> Differences);

/// <summary>Random histories, many at once, for a time, while every part of the platform is killed at random.</summary>
public static class HistoryLoad
{
    private const int AtOnce = 8;

    public static async Task<HistoryReport> RunAsync(Platform platform, TimeSpan time, TimeSpan pause, Action<string> tell, CancellationToken ct)
    {
        await using var check = await HistoryCheck.OpenAsync(platform);
        using var api = new ApiClient(platform.CreateClient());
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var faults = new RandomFaults(platform, withServers: true, tell);
        var killing = faults.RunAsync(pause, stop.Token);
        var (histories, acknowledged, differences) = (0, 0, new List<string>());
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(async _ =>
        {
            while (System.Diagnostics.Stopwatch.GetElapsedTime(start) < time)
            {
                var run = new HistoryRun(api, check, History.Any.Sample(1).Single(), patience: TimeSpan.FromMinutes(3));
                var found = await run.RunAsync(ct);
                Interlocked.Increment(ref histories);
                Interlocked.Add(ref acknowledged, run.Acknowledged);
                lock (differences)
                    differences.AddRange(found);
            }
        }));
        await stop.CancelAsync();
        await killing;
        differences.AddRange(await check.FindDeadLettersAsync(ct));
        return new(histories, acknowledged, faults.Faults, differences);
    }
}
