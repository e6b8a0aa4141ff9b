using Crm.Contracts;
using Crm.Runner;

namespace Campaigns.Tests;

public sealed class CrashTests(CampaignsFixture fixture)
{
    [Fact]
    public async Task Killed_again_and_again_in_the_middle_no_address_gets_two_mails_and_the_sum_is_the_members()
    {
        const int Members = 600;
        const int Kills = 4;
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions { Decide = Slowly });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, Members));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        for (var kill = 1; kill <= Kills; kill++)
        {
            while (sink.Count < Members * kill / (Kills + 1))
            {
                await Task.Delay(2);
            }

            await fixture.Platform["campaigns"].KillAsync();
            await fixture.Platform["campaigns"].StartAsync();
        }

        var results = await fixture.CompletedAsync(campaign, TimeSpan.FromSeconds(60));
        var counts = sink.CountByRecipient();
        TestContext.Current.SendDiagnosticMessage("{0} kills: {1}, {2} mails", Kills, results.ToJsonString(), sink.Count);
        Assert.Equal(Members, (long)results["members"]!);
        Assert.All(counts, r => Assert.Equal(1, r.Value));
        // Every mail that counts as sent is there; of the uncertain ones some are.
        var (sent, uncertain) = ((long)results["sent"]!, (long)results["uncertain"]!);
        Assert.Equal(Members, sent + uncertain);
        Assert.InRange(sink.Count, sent, sent + uncertain);
        // No more than the connections of one process each time.
        Assert.InRange(uncertain, 0, Kills * 4);
        Assert.Equal(sent, await fixture.NumberAsync("SELECT count(*) FROM messages WHERE status = 'sent' AND campaign_id = $1", Key(campaign)));

        // Every sent message was announced, once, though its sender was killed.
        var until = DateTime.UtcNow.AddSeconds(30);
        while (fixture.SentEvents.Where(e => e.CampaignId == campaign).Select(e => e.Id).Distinct().Count() < sent && DateTime.UtcNow < until)
        {
            await Task.Delay(50);
        }

        Assert.Equal(sent, fixture.SentEvents.Where(e => e.CampaignId == campaign).Select(e => e.Id).Distinct().Count());
    }

    [Fact]
    public async Task A_process_that_is_told_to_stop_leaves_nothing_uncertain()
    {
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions { Decide = Slowly });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 200));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        while (sink.Count < 60)
        {
            await Task.Delay(2);
        }

        Assert.True(await fixture.Platform["campaigns"].StopAsync());
        await fixture.Platform["campaigns"].StartAsync();
        Assert.Equal(200, (long)(await fixture.CompletedAsync(campaign))["sent"]!);
        Assert.Equal(200, sink.Count);
    }

    [Fact]
    public async Task A_mail_server_that_is_away_costs_no_message_anything()
    {
        await (await fixture.MailServerAsync()).DisposeAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 50));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await Task.Delay(1500);
        Assert.Equal(50, await fixture.NumberAsync("SELECT count(*) FROM messages WHERE status = 'pending' AND attempts = 0 AND campaign_id = $1", Key(campaign)));
        var sink = await fixture.MailServerAsync();
        Assert.Equal(50, (long)(await fixture.CompletedAsync(campaign))["sent"]!);
        Assert.Equal(50, sink.Count);
    }

    [Fact]
    public async Task A_mail_server_that_dies_in_the_middle_and_comes_back_gets_no_mail_twice()
    {
        const int Members = 300;
        var first = await fixture.MailServerAsync(new SmtpSinkOptions { Decide = Slowly });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, Members));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        while (first.Count < 100)
        {
            await Task.Delay(2);
        }

        var second = await fixture.MailServerAsync();
        var results = await fixture.CompletedAsync(campaign);
        var (sent, uncertain) = ((long)results["sent"]!, (long)results["uncertain"]!);
        Assert.Equal(Members, sent + uncertain);
        Assert.InRange(uncertain, 0, 4);
        Assert.InRange(first.Count + second.Count, sent, Members);
        var twice = first.Mails.Concat(second.Mails).SelectMany(m => m.Recipients).GroupBy(r => r).Where(g => g.Count() > 1);
        Assert.Empty(twice);
    }

    [Fact]
    public async Task Two_replicas_share_a_campaign_and_the_death_of_one_is_made_up_by_the_other()
    {
        const int Members = 300;
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions { Decide = MoreSlowly });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, Members));
        var campaign = await fixture.DraftAsync(batch);
        var (second, address) = StartReplica();
        using var probe = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = address };
        var until = DateTime.UtcNow.AddSeconds(60);
        while (!await IsReadyAsync(probe))
        {
            Assert.True(DateTime.UtcNow < until, second.LogTail());
            await Task.Delay(50);
        }

        await fixture.LaunchAsync(campaign);
        while (sink.Count < Members / 2)
        {
            await Task.Delay(2);
        }

        await second.KillAsync();
        var results = await fixture.CompletedAsync(campaign);
        var (sent, uncertain) = ((long)results["sent"]!, (long)results["uncertain"]!);
        Assert.Equal(Members, sent + uncertain);
        Assert.InRange(uncertain, 1, 4);
        Assert.InRange(sink.Count, sent, Members);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
    }

    private static async Task<bool> IsReadyAsync(HttpClient probe)
    {
        try
        {
            using var response = await probe.GetAsync("/health/ready");
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private (OwnedProcess Process, Uri Address) StartReplica()
    {
        var platform = fixture.Platform;
        var entry = platform.Topology["campaigns"];
        var (http, grpc) = (FreePort.Next(), FreePort.Next());
        var process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "campaigns-2",
            Command = entry.Command(platform.Topology.Root, "Release")!,
            WorkingFolder = entry.OutputFolder(platform.Topology.Root, "Release"),
            LogFile = platform.LogFile("campaigns-2"),
            EndWithCaller = true,
            Environment = new Dictionary<string, string?>(platform["campaigns"].Environment) { ["Ports__Http"] = $"{http}", ["Ports__Grpc"] = $"{grpc}" },
        });
        return (process, new Uri($"http://127.0.0.1:{http}"));
    }

    /// <summary>Slow enough to be hit in the middle.</summary>
    /// <summary>The second replica looks for work twice a second: there must be some left, and a mail on its way at any time.</summary>
    private static SmtpOutcome MoreSlowly(SmtpMail mail)
    {
        Thread.Sleep(25);
        return SmtpOutcome.Accept;
    }

    private static SmtpOutcome Slowly(SmtpMail mail)
    {
        Thread.Sleep(5);
        return SmtpOutcome.Accept;
    }

    private static Guid Key(string id) => Ids.Campaign.TryParse(id, out var key) ? key : throw new FormatException(id);
}
