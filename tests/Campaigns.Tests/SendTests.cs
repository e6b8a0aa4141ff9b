using System.Diagnostics;

namespace Campaigns.Tests;

public sealed class SendTests(CampaignsFixture fixture)
{
    [Fact]
    public async Task A_campaign_to_a_thousand_members_sends_one_mail_to_each_within_seconds()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 1000));
        var campaign = await fixture.DraftAsync(batch);
        var start = Stopwatch.GetTimestamp();
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        TestContext.Current.SendDiagnosticMessage("1000 members in {0}", Stopwatch.GetElapsedTime(start));
        Assert.Equal(1000, (long)results["sent"]!);
        Assert.Equal(1000, sink.Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20));
    }
}
