using Crm.Runner;
using Crm.Runner.Cdnow;
using Crm.Testing;

namespace Platform.Tests;

/// <summary>Real purchases of real people through the public door, end to end.</summary>
public sealed class CdnowTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_whole_purchase_log_is_in_every_service_and_the_campaign_reaches_each_silent_buyer_once()
    {
        var customers = Read();
        Assert.Equal((2357, 6919, 24_409_194L), (customers.Count, customers.Sum(c => c.Purchases.Count), customers.Sum(c => c.Purchases.Sum(p => p.AmountMinor))));
        await using var platform = await Crm.Runner.Platform.StartAsync("cdnow", servers: await TestServers.GetAsync(), ct: Ct);
        using var client = platform.CreateClient();
        var load = new CdnowLoad(client);
        await load.RunAsync(customers, ct: Ct);
        Assert.Equal(CdnowLoad.RowsOf(customers), load.Rows);
        // A machine that stands still for seconds makes a client ask again, of a call in hundreds.
        Assert.InRange(load.Repeated, 0, load.Rows / 100);

        var check = new CdnowCheck(platform, new ApiClient(client), customers);
        await check.DrainAsync(TimeSpan.FromMinutes(3), Ct);
        var findings = new Findings();
        await check.CompareAsync(findings, Ct);
        var segment = await check.MakeSegmentAsync(TimeSpan.Zero, findings, Ct);
        var results = await check.WaitForCampaignAsync(await check.LaunchCampaignAsync(segment, Ct), TimeSpan.FromMinutes(3), Ct);
        check.CompareMails(results, [.. platform.Mail!.Mails.SelectMany(m => m.Recipients)], strict: true, findings);
        Assert.Empty(findings.Sentences);
    }

    [Fact]
    public async Task Nothing_is_lost_and_nothing_is_there_twice_when_every_part_is_killed_in_the_middle()
    {
        var customers = Read(200);
        // What was being sent by a sender that died is uncertain after a lease, which nobody waits three minutes for here.
        var leases = new Dictionary<string, string> { ["campaigns:Smtp__TimeoutSeconds"] = "10", ["campaigns:Smtp__LeaseSeconds"] = "20" };
        await using var platform = await Crm.Runner.Platform.StartAsync("faults", leases, servers: await TestServers.GetAsync(), ct: Ct);
        using var client = platform.CreateClient();
        Action<string> tell = text => TestContext.Current.SendDiagnosticMessage(text);
        var faults = new Faults(platform, withServers: true, tell);
        var cdnow = new CdnowFaults(platform, client, customers, new CdnowCheck(platform, new ApiClient(client), customers), faults, tell);
        await cdnow.LiveAsync(concurrency: 8, patience: TimeSpan.FromMinutes(3), () => faults.RunRoundAsync(TimeSpan.FromMilliseconds(900), Ct), Ct);
        var report = await cdnow.CompareAsync(Ct);
        Assert.Empty(report.Findings.Sentences);
        Assert.Equal(CdnowLoad.RowsOf(customers), report.Rows);
    }

    private static IReadOnlyList<CdnowCustomer> Read(int? take = null)
    {
        SharedData.Require(CdnowData.Purchases);
        SharedData.Require(CdnowData.People);
        return CdnowData.Read(SharedData.Folder, take);
    }
}
