namespace Crm.Runner.Histories;

/// <param name="Acknowledged">Calls.</param>
/// <param name="Recorded">Rows that were acknowledged.</param>
public sealed record HistoryReport(int Histories, int Acknowledged, IReadOnlyCollection<RecordedRow> Recorded, IReadOnlyList<string> Differences);

/// <summary>Random histories, many at once.</summary>
public static class HistoryLoad
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    /// <summary>Any histories, one after the other by each of these clients, until no more is to be begun.</summary>
    public static Task<HistoryReport> LiveAsync(Platform platform, ApiClient api, int atOnce, Func<bool> goOn, CancellationToken ct) =>
        LiveAsync(platform, api, atOnce, _ => goOn() ? Random.Shared.Next() : null, Patience, ct);

    /// <param name="next">The seed of the next history, given whether all is well so far; null when no more is to be begun.</param>
    /// <param name="patience">How long messages may be under way.</param>
    public static async Task<HistoryReport> LiveAsync(Platform platform, ApiClient api, int atOnce, Func<bool, int?> next, TimeSpan patience, CancellationToken ct)
    {
        await using var check = await HistoryCheck.OpenAsync(platform);
        var (histories, acknowledged, differences, recorded) = (0, 0, new List<string>(), new List<RecordedRow>());
        await Task.WhenAll(Enumerable.Range(0, atOnce).Select(async _ =>
        {
            while (Next() is { } seed)
            {
                var history = History.Of(seed);
                var run = new HistoryRun(api, check, history, patience);
                var found = await EndAsync(platform, run, ct);
                lock (differences)
                {
                    histories++;
                    acknowledged += run.Acknowledged;
                    differences.AddRange(found.Select((d, i) => $"History {seed} {d}{(i == 0 ? $" ({history})" : "")}"));
                    recorded.AddRange(run.Recorded);
                }
            }
        }));
        differences.AddRange(await check.FindDeadLettersAsync(ct));
        return new(histories, acknowledged, recorded, differences);

        int? Next()
        {
            lock (differences)
                return next(differences.Count == 0);
        }
    }

    /// <summary>An answer that must not be is a difference; the others go on.</summary>
    private static async Task<IReadOnlyList<string>> EndAsync(Platform platform, HistoryRun run, CancellationToken ct)
    {
        try
        {
            return await run.RunAsync(ct);
        }
        catch (ApiException e)
        {
            return [string.Join('\n', [e.Message, .. e.TraceId is { } trace ? platform.ErrorsOf(trace) : []])];
        }
    }
}
