using System.Diagnostics;
using Crm.Testing;
using Npgsql;

namespace Interactions.Tests;

/// <summary>Alone, after the others.</summary>
[CollectionDefinition(nameof(TimelineSpeedTests), DisableParallelization = true)]
[Collection(nameof(TimelineSpeedTests))]
public sealed class TimelineSpeedTests(InteractionsFixture fixture)
{
    private const int Rounds = 5;

    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(200);
    private readonly HttpClient _api = fixture.Api;

    /// <summary>I-01: under 200 ms p95 at 100 000 entries of one customer, wherever the page lies and whatever it is filtered by.</summary>
    [Fact]
    public async Task A_page_of_a_hundred_thousand_entries_takes_less_than_200_ms()
    {
        var (customer, id) = await fixture.FilledAsync(100_000, "- interval '5 minutes' * n");
        await using (var rare = fixture.Database.CreateCommand("UPDATE timeline SET type = 'order' WHERE customer_id = $1 AND type IN ('case', 'message') AND at > '2026-01-01'"))
        {
            rare.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
            await rare.ExecuteNonQueryAsync(Ct);
        }

        var path = $"/v1/customers/{customer}/timeline?limit=100";
        var cursors = new List<string> { "" };
        for (var i = 0; i < 20; i++)
        {
            cursors.Add($"&cursor={(await _api.CallAsync($"{path}{cursors[^1]}", Ct))["next_cursor"]}");
        }

        string[] queries = [.. cursors.Select(c => path + c), .. Enumerable.Range(0, 20).SelectMany(i => new[]
        {
            $"{path}&type=case,message", $"{path}&type=case", $"{path}&at[lt]=2025-12-{i + 1:00}T00:00:00Z", $"{path}&type=payment,case&at[lt]=2026-02-{i + 1:00}T00:00:00Z",
        })];
        // Other work on the machine only ever adds time: the quietest of some rounds is the service's own.
        var best = TimeSpan.MaxValue;
        for (var round = 0; round < Rounds && best >= Limit; round++)
        {
            var times = new List<TimeSpan>();
            foreach (var query in queries)
            {
                var start = Stopwatch.GetTimestamp();
                var page = await _api.CallAsync(query, Ct);
                times.Add(Stopwatch.GetElapsedTime(start));
                Assert.Equal(100, page.Data.Count);
            }

            times.Sort();
            var p95 = times[(int)(times.Count * 0.95)];
            best = p95 < best ? p95 : best;
            TestContext.Current.TestOutputHelper?.WriteLine(
                $"{times.Count} pages, p50 {times[times.Count / 2].TotalMilliseconds:0.0} ms, p95 {p95.TotalMilliseconds:0.0} ms, longest {times[^1].TotalMilliseconds:0.0} ms");
        }

        Assert.True(best < Limit, $"p95 is {best.TotalMilliseconds} ms");
    }
}
