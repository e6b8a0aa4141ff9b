namespace Crm.Runner.Histories;

/// <param name="Kills">Of services and the gateway.</param>
/// <param name="Messages">That came, and how often in all.</param>
public sealed record SeededReport(HistoryReport Histories, int Kills, (long Came, long Copies) Messages, Findings Findings);

/// <summary>The histories of a range of seeds, side by side, while services are ended by kill -9 and every message is delayed, doubled and put out of order.</summary>
public static class SeededHistories
{
    private const int AtOnce = 24;

    /// <summary>After the first history that does not come to what it must no more is begun.</summary>
    /// <param name="from">The first seed; the others follow it.</param>
    /// <param name="begun">Called with the number of those that were begun.</param>
    public static async Task<SeededReport> RunAsync(Platform platform, int from, int count, Action<int> begun, CancellationToken ct)
    {
        await using var scrambler = await Scrambler.StartAsync(platform.RabbitMq!, ct);
        using var api = new ApiClient(platform.CreateClient());
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var faults = new Faults(platform, withServers: false, _ => { });
        var killing = faults.RunAsync(TimeSpan.FromSeconds(20), stop.Token);
        var number = 0;
        var report = await HistoryLoad.LiveAsync(platform, api, AtOnce, Next, TimeSpan.FromSeconds(120), ct);
        await stop.CancelAsync();
        await killing;
        var findings = new Findings();
        findings.AddDifferences(report.Differences);
        await using var check = await HistoryCheck.OpenAsync(platform);
        await check.CompareAllAsync(report.Recorded, [], findings, ct);
        return new(report, faults.Injected.Count, scrambler.Counts, findings);

        int? Next(bool well)
        {
            if (number == count || !well)
                return null;
            begun(++number);
            return from + number - 1;
        }
    }
}
