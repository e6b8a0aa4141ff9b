using System.Collections.Concurrent;
using Crm.Contracts;
using Crm.Runner;
using Crm.Testing;

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
            await ArrivedAsync(sink, Members * kill / (Kills + 1));
            await fixture.Platform["campaigns"].KillAsync();
            // What it had asked of the database may still be done there.
            await fixture.UntilAsync(0, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> ''");
            Assert.InRange(await EndLeasesAsync(campaign), 0, 4);
            await fixture.Platform["campaigns"].StartAsync();
        }

        var results = await fixture.CompletedAsync(campaign);
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
        var announced = await Eventually.GetAsync(
            () => Task.FromResult(fixture.SentEvents.Where(e => e.CampaignId == campaign).Select(e => e.Id).Distinct().Count()), count => count >= sent, ct: Ct);
        Assert.Equal(sent, announced);
    }

    [Fact]
    public async Task A_process_that_is_told_to_stop_leaves_nothing_uncertain()
    {
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions { Decide = Slowly });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 200));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await ArrivedAsync(sink, 60);
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
        await ArrivedAsync(first, 100);
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
        const int Lanes = 4;
        const string Second = "second@crm.example";
        var held = new ConcurrentBag<string>();
        var (full, dead) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        // No mail is answered before the second is dead: so the first leaves it work, and it dies with a mail in each of its lanes.
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions
        {
            Hold = mail =>
            {
                if (mail.From == Second)
                {
                    held.Add(mail.Recipients[0]);
                    if (held.Count >= Lanes)
                    {
                        full.TrySetResult();
                    }
                }

                return dead.Task;
            },
        });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, Members));
        var campaign = await fixture.DraftAsync(batch);
        var (second, address) = StartReplica(Second);
        try
        {
            using var probe = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = address };
            var until = DateTime.UtcNow.AddMinutes(2);
            while (!await IsReadyAsync(probe))
            {
                Assert.True(DateTime.UtcNow < until, second.LogTail());
                await Task.Delay(50);
            }

            await fixture.LaunchAsync(campaign);
            await full.Task.WaitAsync(TimeSpan.FromMinutes(1), Ct);
        }
        finally
        {
            await second.KillAsync();
        }

        Assert.Equal(Lanes, await EndLeasesAsync(campaign, [.. held]));
        dead.SetResult();
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal((Members - Lanes, Lanes), ((long)results["sent"]!, (long)results["uncertain"]!));
        await ArrivedAsync(sink, Members);
        Assert.Equal(Members, sink.CountByRecipient().Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private static Task ArrivedAsync(SmtpSink sink, int mails) =>
        Eventually.GetAsync(() => Task.FromResult(sink.Count), count => count >= mails, TimeSpan.FromMinutes(2), Ct);

    /// <summary>
    /// Ends the leases that a dead sender left, of mails to these addresses or of all: nobody waits for the two minutes that
    /// they may still have. How many there were.
    /// </summary>
    private Task<long> EndLeasesAsync(string campaign, params string[] addresses) => fixture.NumberAsync(
        """
        WITH ended AS (
            UPDATE messages SET lease_until = now() - interval '1 second'
            WHERE campaign_id = $1 AND status = 'sending' AND lease_until BETWEEN now() AND now() + interval '120 seconds'
                AND (cardinality($2) = 0 OR customer_id IN (SELECT id FROM customers WHERE primary_email = ANY ($2)))
            RETURNING 1
        )
        SELECT count(*) FROM ended
        """,
        Key(campaign), addresses);

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

    private (OwnedProcess Process, Uri Address) StartReplica(string from)
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
            Environment = new Dictionary<string, string?>(platform["campaigns"].Environment) { ["Ports__Http"] = $"{http}", ["Ports__Grpc"] = $"{grpc}", ["Smtp__From"] = from },
        });
        return (process, new Uri($"http://127.0.0.1:{http}"));
    }

    /// <summary>Slow enough to be hit in the middle.</summary>
    private static SmtpOutcome Slowly(SmtpMail mail)
    {
        Thread.Sleep(5);
        return SmtpOutcome.Accept;
    }

    private static Guid Key(string id) => Ids.Campaign.TryParse(id, out var key) ? key : throw new FormatException(id);
}
