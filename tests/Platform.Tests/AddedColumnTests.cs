using Crm.Runner;
using Crm.Runner.Histories;

namespace Platform.Tests;

/// <summary>What migrations of the next release do beside the running one, which keeps its statements prepared.</summary>
public sealed class AddedColumnTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task Columns_that_every_table_gets_under_load_fail_no_call_and_no_message()
    {
        var platform = Fixture.Platform;
        await using var check = await HistoryCheck.OpenAsync(platform);
        var before = await check.FindDeadLettersAsync(Ct);
        using var api = new ApiClient(platform.CreateClient());
        var enough = false;
        var living = HistoryLoad.LiveAsync(platform, api, atOnce: 6, () => !Volatile.Read(ref enough), Ct);
        try
        {
            // Until statements are prepared on most connections.
            await Task.Delay(TimeSpan.FromSeconds(20), Ct);
            foreach (var service in platform.Services.Keys)
            {
                await platform.AddColumnsAsync(service, "added_under_load", Ct);
            }

            await Task.Delay(TimeSpan.FromSeconds(8), Ct);
        }
        finally
        {
            Volatile.Write(ref enough, true);
        }

        var lived = await living;
        Assert.True(lived.Acknowledged > 100, $"{lived.Acknowledged} calls");
        Assert.Empty(lived.Differences.Except(before));
        Assert.All(platform.Services.Keys, service => Assert.DoesNotContain("cached plan", File.ReadAllText(platform.LogFile(service)), StringComparison.Ordinal));
    }
}
