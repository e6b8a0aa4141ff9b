using FsCheck.Fluent;

namespace Crm.Runner.Histories;

/// <param name="Acknowledged">Calls.</param>
/// <param name="Recorded">Rows that were acknowledged, by type.</param>
public sealed record HistoryReport(int Histories, int Acknowledged, IReadOnlyDictionary<string, long> Recorded, IReadOnlyList<string> Faults, IReadOnlyList<string> Differences);

/// <summary>Random histories, many at once.</summary>
public static class HistoryLoad
{
    private const int AtOnce = 8;

    /// <summary>For a time, while every part of the platform is killed at random.</summary>
    public static async Task<HistoryReport> RunAsync(Platform platform, TimeSpan time, TimeSpan pause, Action<string> tell, CancellationToken ct)
    {
        using var api = new ApiClient(platform.CreateClient());
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var faults = new RandomFaults(platform, withServers: true, tell);
        var killing = faults.RunAsync(pause, stop.Token);
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        var report = await LiveAsync(platform, api, AtOnce, () => System.Diagnostics.Stopwatch.GetElapsedTime(start) < time, ct);
        await stop.CancelAsync();
        await killing;
        return report with { Faults = faults.Faults };
    }

    /// <summary>One after the other by each of these clients, until no more is to be begun.</summary>
    public static async Task<HistoryReport> LiveAsync(Platform platform, ApiClient api, int atOnce, Func<bool> goOn, CancellationToken ct)
    {
        await using var check = await HistoryCheck.OpenAsync(platform);
        var (histories, acknowledged, differences, recorded) = (0, 0, new List<string>(), new Dictionary<string, long>());
        await Task.WhenAll(Enumerable.Range(0, atOnce).Select(async _ =>
        {
            while (goOn())
            {
                var run = new HistoryRun(api, check, History.Any.Sample(1).Single(), patience: TimeSpan.FromMinutes(3));
                var found = await EndAsync(run, ct);
                lock (differences)
                {
                    histories++;
                    acknowledged += run.Acknowledged;
                    differences.AddRange(found);
                    foreach (var (type, count) in run.Recorded)
                        recorded[type] = recorded.GetValueOrDefault(type) + count;
                }
            }
        }));
        differences.AddRange(await check.FindDeadLettersAsync(ct));
        return new(histories, acknowledged, recorded, [], differences);
    }

    /// <summary>An answer that must not be is a difference; the others go on.</summary>
    private static async Task<IReadOnlyList<string>> EndAsync(HistoryRun run, CancellationToken ct)
    {
        try
        {
            return await run.RunAsync(ct);
        }
        catch (ApiException e)
        {
            return [e.Message];
        }
    }
}
