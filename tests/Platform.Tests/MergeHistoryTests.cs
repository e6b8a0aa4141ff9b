using System.Globalization;
using Crm.Runner.Histories;
using Crm.Testing;

namespace Platform.Tests;

/// <summary>
/// Random histories of a few customers each; 200 of them, or as many as CRM_HISTORIES says, of other seeds at every run.
/// ./crm histories makes those of given seeds.
/// </summary>
public sealed class MergeHistoryTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Whatever_is_merged_and_undone_every_row_is_where_it_belongs_in_every_service()
    {
        var count = int.Parse(Environment.GetEnvironmentVariable("CRM_HISTORIES") ?? "200", CultureInfo.InvariantCulture);
        var from = Random.Shared.Next(int.MaxValue - count);
        TestContext.Current.TestOutputHelper?.WriteLine($"{count} histories from seed {from}");
        await using var platform = await Crm.Runner.Platform.StartAsync("histories", servers: await TestServers.GetAsync(), ct: Ct);
        var report = await SeededHistories.RunAsync(platform, from, count, _ => { }, Ct);
        Assert.True(report.Findings.Sentences.Count == 0, $"{count} histories from seed {from}:\n{string.Join('\n', report.Findings.Sentences)}");

        var (came, copies) = report.Messages;
        TestContext.Current.SendDiagnosticMessage($"{count} histories from seed {from}, {report.Kills} kills, {came} messages came {copies} times");
        Assert.Equal(count, report.Histories.Histories);
        Assert.True(copies > came * 3 / 2, $"{came} messages, {copies} copies");
        Assert.True(count < 50 || report.Kills >= 2, $"{report.Kills} kills");
    }

    [Fact]
    public void A_seed_is_one_history_and_other_seeds_are_others()
    {
        var histories = Enumerable.Range(1, 1000).Select(seed => History.Of(seed).ToString()).ToList();
        Assert.Equal(histories, Enumerable.Range(1, 1000).Select(seed => History.Of(seed).ToString()));
        Assert.Equal(histories.Count, histories.Distinct().Count());
    }
}
