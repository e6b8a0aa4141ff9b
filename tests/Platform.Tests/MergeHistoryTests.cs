using System.Globalization;
using Crm.Runner;
using Crm.Runner.Histories;
using Crm.Testing;
using FsCheck.Fluent;

namespace Platform.Tests;

/// <summary>
/// Random histories of a few customers each; 200 of them, or as many as CRM_HISTORIES says. They go side by side, while
/// services are killed and every message is delayed, doubled and put out of order.
/// </summary>
public sealed class MergeHistoryTests
{
    private const int AtOnce = 16;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Whatever_is_merged_and_undone_every_row_is_where_it_belongs_in_every_service()
    {
        var count = int.Parse(Environment.GetEnvironmentVariable("CRM_HISTORIES") ?? "200", CultureInfo.InvariantCulture);
        await using var platform = await Crm.Runner.Platform.StartAsync("histories", servers: await TestServers.GetAsync(), ct: Ct);
        await using var scrambler = await Scrambler.StartAsync(platform.RabbitMq!, Ct);
        await using var check = await HistoryCheck.OpenAsync(platform);
        using var api = new ApiClient(platform.CreateClient());
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        var faults = new RandomFaults(platform, withServers: false, _ => { });
        var killing = faults.RunAsync(TimeSpan.FromSeconds(20), stop.Token);

        // FsCheck makes them; its own way of running several at once keeps a processor busy with waiting.
        await Parallel.ForEachAsync(History.Any.Sample(count), new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = Ct }, async (history, ct) =>
        {
            var differences = await new HistoryRun(api, check, history, patience: TimeSpan.FromSeconds(120)).RunAsync(ct);
            Assert.True(differences.Count == 0, $"{history}\n{string.Join('\n', differences)}");
        });

        await stop.CancelAsync();
        await killing;
        Assert.Empty(await check.FindDeadLettersAsync(Ct));
        var (messages, copies) = scrambler.Counts;
        TestContext.Current.SendDiagnosticMessage($"{count} histories, {faults.Faults.Count} kills, {messages} messages came {copies} times");
        Assert.True(copies > messages * 3 / 2, $"{messages} messages, {copies} copies");
        Assert.True(count < 50 || faults.Faults.Count >= 2, $"{faults.Faults.Count} kills");
    }
}
