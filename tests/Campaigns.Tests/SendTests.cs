using System.Diagnostics;
using System.Text;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Runner;
using Crm.Testing;

namespace Campaigns.Tests;

public sealed class SendTests(CampaignsFixture fixture)
{
    [Fact]
    public async Task A_campaign_to_a_thousand_members_sends_one_mail_to_each()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 1000));
        var campaign = await fixture.DraftAsync(batch);
        var start = Stopwatch.GetTimestamp();
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        var elapsed = Stopwatch.GetElapsedTime(start);
        TestContext.Current.SendDiagnosticMessage("1000 members in {0}", elapsed);
        Assert.Equal(1000, (long)results["members"]!);
        Assert.Equal(1000, (long)results["sent"]!);
        Assert.Equal(1000, sink.Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
    }

    [Fact]
    public async Task A_mail_says_what_the_template_says_of_its_customer()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var customer = CampaignsFixture.Customer(batch, $"{batch}@exämple.com", given: "Zoë <b>&\"", family: "Ünlü", country: "GB");
        await fixture.RegisterAsync([customer]);
        var campaign = await fixture.DraftAsync(
            batch, "Grüße, {{given_name}}{{locale}} – only today, and for a long time after today too",
            "Dear {{display_name}},\n.\n{{#if locale}}locale{{else}}no locale{{/if}}\n" + new string('x', 200) + " \n",
            "<p title=\"{{given_name}}\">{{given_name}} of {{country}}</p>");
        await fixture.LaunchAsync(campaign);
        await fixture.CompletedAsync(campaign);

        var mail = Assert.Single(sink.Mails);
        Assert.Equal("campaigns@crm.example", mail.From);
        Assert.Equal($"{batch}@xn--exmple-cua.com", Assert.Single(mail.Recipients));
        Assert.Equal("\"Crm Platform\" <campaigns@crm.example>", mail.Header("From"));
        Assert.Equal("1.0", mail.Header("MIME-Version"));
        Assert.Equal("Grüße, Zoë <b>&\" – only today, and for a long time after today too", Unfolded(mail.Header("Subject")!));
        Assert.Equal("Zoë <b>&\" Ünlü", Unfolded(mail.Header("To")!.Split(" <")[0]));
        Assert.True(DateTimeOffset.TryParse(mail.Header("Date"), out var date) && date > DateTimeOffset.UtcNow.AddMinutes(-1));

        var row = (await fixture.GetAsync($"/v1/campaigns/{campaign}/messages"))["data"]![0]!;
        Assert.Equal($"<{row["id"]}@crm.example>", mail.Header("Message-ID"));
        Assert.Equal(mail.Header("Message-ID"), (string)row["internet_message_id"]!);

        Assert.StartsWith("multipart/alternative; boundary=", mail.Header("Content-Type"));
        var parts = mail.Data.Split("--=_");
        Assert.Equal($"Dear Zoë <b>&\" Ünlü,\n.\nno locale\n{new string('x', 200)} \n", Decoded(parts[1]));
        Assert.Equal("<p title=\"Zoë &lt;b&gt;&amp;&quot;\">Zoë &lt;b&gt;&amp;&quot; of GB</p>\n", Decoded(parts[2]));
        Assert.All(mail.Data.Split("\r\n"), line => Assert.True(line.Length <= 78 && line.All(char.IsAscii), line));
    }

    [Theory]
    [InlineData("Ada\r\nBcc: all@example.com")]
    [InlineData("Ada\nBcc: all@example.com\n\nspam")]
    [InlineData("Ada\u2028\u0085\u0000\u001bBcc: all@example.com")]
    public async Task Data_can_never_begin_a_header(string name)
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        // A copy may hold what the API would not take.
        var customer = CampaignsFixture.Customer(batch, $"{batch}@example.com", given: name.Replace("\0", ""), family: name.Replace("\0", ""));
        await fixture.RegisterAsync([customer]);
        var campaign = await fixture.DraftAsync(batch, "Hello {{given_name}} {{family_name}}");
        await fixture.LaunchAsync(campaign);
        await fixture.CompletedAsync(campaign);
        var mail = Assert.Single(sink.Mails);
        Assert.Null(mail.Header("Bcc"));
        Assert.Single(mail.Recipients);
        var headers = mail.Data[..mail.Data.IndexOf("\r\n\r\n", StringComparison.Ordinal)].Split("\r\n").Where(l => l[0] is not ' ').Select(l => l.Split(':')[0]);
        Assert.Equal(["From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"], headers);
    }

    [Theory]
    [InlineData("a b@example.com")]
    [InlineData("a@example.com>\r\nRCPT TO:<b@example.com")]
    [InlineData("a@example.com,b@example.com")]
    [InlineData("nobody")]
    [InlineData("a@")]
    public async Task Nothing_is_sent_to_what_is_no_address(string address)
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync([CampaignsFixture.Customer(batch, address)]);
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal(1, (long)results["suppressed_by_reason"]!["no_address"]!);
        Assert.Equal(0, sink.Count);
    }

    [Fact]
    public async Task Who_may_not_be_written_to_at_the_moment_of_sending_is_suppressed_with_the_reason()
    {
        // Nobody answers, so that things change between launch and sending.
        await (await fixture.MailServerAsync()).DisposeAsync();
        var batch = CampaignsFixture.NewBatch();
        var crowd = CampaignsFixture.Crowd(batch, 10);
        var (withdraws, denied, never, complains, solved, merged, moves) = (crowd[0], crowd[1], crowd[2], crowd[3], crowd[4], crowd[5], crowd[6]);
        var (silent, shared) = (CampaignsFixture.Customer(batch), CampaignsFixture.Customer(batch, crowd[9].PrimaryEmail!.ToUpperInvariant()));
        await fixture.RegisterAsync([.. crowd.Except([never]), silent, shared]);
        await fixture.RegisterAsync([never], consent: false);
        await fixture.PublishAsync(new ConsentRecorded(never.Id, "phone", "marketing", "granted", 1, DateTimeOffset.UtcNow), new ConsentRecorded(never.Id, "email", "billing", "granted", 1, DateTimeOffset.UtcNow));
        var complaint = Complaint(complains);
        var other = Complaint(solved);
        await fixture.PublishAsync(other);
        await fixture.UntilAsync(1, "SELECT count(*) FROM cases WHERE customer_id = $1", CampaignsFixture.Key(solved.Id));

        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        Assert.Equal(12, (long)(await fixture.GetAsync($"/v1/campaigns/{campaign}/results"))["pending"]!);
        Assert.Equal("sending", (string)(await fixture.GetAsync($"/v1/campaigns/{campaign}"))["status"]!);

        await fixture.PublishAsync(
            new ConsentRecorded(withdraws.Id, "email", "marketing", "withdrawn", 2, DateTimeOffset.UtcNow),
            new ConsentRecorded(denied.Id, "email", "marketing", "denied", 2, DateTimeOffset.UtcNow));
        // A pause that is over is none.
        await fixture.PublishAsync(
            new ConsentRecorded(crowd[8].Id, "email", "marketing", "granted", 2, DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(1)),
            new ConsentRecorded(crowd[7].Id, "email", "marketing", "granted", 2, DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddSeconds(-1)));
        await fixture.PublishAsync(complaint, other with { Version = 2, Status = "solved" });
        await fixture.PublishAsync(
            new CustomerUpdated(merged with { Version = 2, State = "merged", SurvivorId = crowd[7].Id }, ["state"]),
            new CustomerUpdated(moves with { Version = 2, PrimaryEmail = $"{batch}-moved@example.com" }, ["emails"]));
        await fixture.UntilAsync(4, "SELECT count(*) FROM customer_consents WHERE customer_id = ANY ($1) AND version = 2", Keys(withdraws, denied, crowd[7], crowd[8]));
        await fixture.UntilAsync(2, "SELECT count(*) FROM cases WHERE customer_id = ANY ($1) AND (version = 2 OR status = 'open')", Keys(complains, solved));
        await fixture.UntilAsync(1, "SELECT count(*) FROM cases WHERE customer_id = ANY ($1) AND version = 2", Keys(solved));
        await fixture.UntilAsync(2, "SELECT count(*) FROM customers WHERE id = ANY ($1) AND version = 2", Keys(merged, moves));

        var sink = await fixture.MailServerAsync();
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal(12, (long)results["members"]!);
        Assert.Equal(8, (long)results["suppressed"]!);
        Assert.Equal("""{"no_consent":3,"open_complaint":1,"no_address":1,"not_active":0,"duplicate_address":1,"duplicate_customer":1,"paused":1}""", results["suppressed_by_reason"]!.ToJsonString());
        Assert.Equal(4, (long)results["sent"]!);
        var recipients = sink.CountByRecipient();
        Assert.Equal(
            new[] { solved.PrimaryEmail!, $"{batch}-moved@example.com", crowd[7].PrimaryEmail!, crowd[9].PrimaryEmail! }.Order(),
            recipients.Keys.Order());
        Assert.All(recipients, r => Assert.Equal(1, r.Value));

        var suppressed = await fixture.GetAsync($"/v1/campaigns/{campaign}/messages?status=suppressed");
        Assert.Equal(8, suppressed["data"]!.AsArray().Count);
        Assert.Equal("open_complaint", (string)suppressed["data"]!.AsArray().Single(m => (string)m!["customer_id"]! == complains.Id)!["reason"]!);
    }

    [Fact]
    public async Task Contacts_is_asked_before_a_mail_goes_out_and_knows_better_than_the_copy()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var crowd = CampaignsFixture.Crowd(batch, 60);
        await fixture.RegisterAsync(crowd);
        fixture.Contacts.Exceptions[crowd[0].Id] = null;
        fixture.Contacts.Exceptions[crowd[1].Id] = DateTimeOffset.UtcNow.AddDays(1);
        fixture.Contacts.Exceptions[crowd[2].Id] = DateTimeOffset.UtcNow.AddDays(-1);
        var before = fixture.Contacts.Questions;
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal((58, 1, 1), ((long)results["sent"]!, (long)results["suppressed_by_reason"]!["no_consent"]!, (long)results["suppressed_by_reason"]!["paused"]!));
        Assert.Equal(crowd.Skip(2).Select(c => c.PrimaryEmail!).Order(), sink.CountByRecipient().Keys.Order());
        // For many at once.
        Assert.InRange(fixture.Contacts.Questions - before, 3, 30);
    }

    [Fact]
    public async Task While_Contacts_cannot_be_asked_campaigns_wait_and_confirmations_do_not()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var crowd = CampaignsFixture.Crowd(batch, 30);
        await fixture.RegisterAsync(crowd);
        var campaign = await fixture.DraftAsync(batch);
        fixture.Contacts.IsAway = true;
        try
        {
            var before = fixture.Contacts.Questions;
            await fixture.LaunchAsync(campaign);
            await Eventually.GetAsync(() => Task.FromResult(fixture.Contacts.Questions), questions => questions > before);
            var asked = $"{batch}-asked@example.com";
            await fixture.PublishAsync(new ConsentConfirmationRequested(
                Ids.Consent.Format(Guid.CreateVersion7()), crowd[0].Id, "email", "surveys", asked, "Ask me", DateTimeOffset.UtcNow.AddDays(7)));
            await Eventually.GetAsync(() => Task.FromResult(sink.Count), count => count == 1);
            Assert.Equal(asked, Assert.Single(sink.CountByRecipient()).Key);
            await Task.Delay(1500);
            Assert.Equal(1, sink.Count);
            Assert.Equal(30, await fixture.NumberAsync("SELECT count(*) FROM messages WHERE status = 'pending' AND attempts = 0 AND campaign_id = $1", CampaignKey(campaign)));
        }
        finally
        {
            fixture.Contacts.IsAway = false;
        }

        Assert.Equal(30, (long)(await fixture.CompletedAsync(campaign))["sent"]!);
        Assert.Equal(31, sink.Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
    }

    [Fact]
    public async Task One_address_gets_one_mail_however_many_customers_have_it()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync([.. Enumerable.Range(0, 200).Select(i => CampaignsFixture.Customer(batch, $"{(i % 2 == 0 ? batch : batch.ToUpperInvariant())}-{i % 20}@example.com"))]);
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal(20, (long)results["sent"]!);
        Assert.Equal(180, (long)results["suppressed_by_reason"]!["duplicate_address"]!);
        Assert.Equal(20, sink.Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));

        // Another campaign is another mail.
        var second = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(second);
        Assert.Equal(20, (long)(await fixture.CompletedAsync(second))["sent"]!);
    }

    [Fact]
    public async Task A_refusal_fails_and_a_deferral_waits_and_neither_is_counted_as_sent()
    {
        var rejecting = await fixture.MailServerAsync(new SmtpSinkOptions { Reject = "-[012]@", Defer = "-[34]@" });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 10));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await fixture.UntilAsync(2, "SELECT count(*) FROM messages WHERE campaign_id = $1 AND status = 'pending' AND smtp_code = 451 AND attempts > 0", CampaignKey(campaign));
        await fixture.UntilAsync(5, "SELECT count(*) FROM messages WHERE campaign_id = $1 AND status = 'sent'", CampaignKey(campaign));
        var results = await fixture.GetAsync($"/v1/campaigns/{campaign}/results");
        Assert.Equal((5, 3, 2), ((long)results["sent"]!, (long)results["failed"]!, (long)results["pending"]!));
        Assert.Null(results["completed_at"]);

        // The server takes the two after a while.
        var accepting = await fixture.MailServerAsync();
        results = await fixture.CompletedAsync(campaign);
        Assert.Equal((7, 3, 0), ((long)results["sent"]!, (long)results["failed"]!, (long)results["uncertain"]!));
        Assert.Equal((5, 2), (rejecting.Count, accepting.Count));
        var failed = await fixture.GetAsync($"/v1/campaigns/{campaign}/messages?status=failed");
        Assert.All(failed["data"]!.AsArray(), m => Assert.Equal((550, "refused"), ((int)m!["smtp_code"]!, (string)m["reason"]!)));
    }

    [Fact]
    public async Task A_deferral_that_never_ends_has_failed_after_a_day()
    {
        await fixture.MailServerAsync(new SmtpSinkOptions { Defer = "." });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 1));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await fixture.UntilAsync(1, "SELECT count(*) FROM messages WHERE campaign_id = $1 AND smtp_code = 451", CampaignKey(campaign));
        await fixture.NumberAsync("WITH aged AS (UPDATE messages SET created_at = created_at - interval '25 hours' WHERE campaign_id = $1 RETURNING 1) SELECT count(*) FROM aged", CampaignKey(campaign));
        Assert.Equal(1, (long)(await fixture.CompletedAsync(campaign))["failed"]!);
    }

    [Fact]
    public async Task What_the_server_says_after_the_data_decides_and_its_silence_is_uncertain()
    {
        var deferred = 0;
        var sink = await fixture.MailServerAsync(new SmtpSinkOptions
        {
            Decide = mail => mail.Recipients[0] switch
            {
                var r when r.Contains("-0@") => SmtpOutcome.Reject,
                var r when r.Contains("-1@") && Interlocked.Increment(ref deferred) == 1 => SmtpOutcome.Defer,
                var r when r.Contains("-2@") => SmtpOutcome.AcceptAndCut,
                _ => SmtpOutcome.Accept,
            },
        });
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 6));
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        var results = await fixture.CompletedAsync(campaign);
        Assert.Equal((4, 1, 1), ((long)results["sent"]!, (long)results["failed"]!, (long)results["uncertain"]!));
        Assert.Equal(5, sink.Count);
        var uncertain = (await fixture.GetAsync($"/v1/campaigns/{campaign}/messages?status=uncertain"))["data"]!.AsArray().Single()!;
        Assert.Equal("no_answer", (string)uncertain["reason"]!);

        // Never again by itself.
        await Task.Delay(1500);
        Assert.Equal(5, sink.Count);
        Assert.All(sink.CountByRecipient(), r => Assert.Equal(1, r.Value));
    }

    [Fact]
    public async Task A_sent_mail_is_announced_once_in_the_words_of_the_contract()
    {
        await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var crowd = CampaignsFixture.Crowd(batch, 3);
        await fixture.RegisterAsync(crowd);
        var campaign = await fixture.DraftAsync(batch, "Hello {{given_name}}");
        await fixture.LaunchAsync(campaign);
        await fixture.CompletedAsync(campaign);
        await Eventually.GetAsync(() => Task.FromResult(fixture.SentEvents.Count(e => e.CampaignId == campaign)), count => count >= 3);
        var events = fixture.SentEvents.Where(e => e.CampaignId == campaign).OrderBy(e => e.Subject).ToList();
        Assert.Equal(crowd.Select(c => (c.Id, $"Hello {c.GivenName}", $"Campaign {batch}", "email")), events.Select(e => (e.CustomerId, e.Subject, e.CampaignName, e.Channel)));
        Assert.All(events, e => Assert.True(Ids.Message.TryParse(e.Id, out _) && e.SentAt > DateTimeOffset.UtcNow.AddMinutes(-1)));
    }

    private static Guid[] Keys(params CustomerSnapshot[] customers) => [.. customers.Select(c => CampaignsFixture.Key(c.Id))];

    private static Guid CampaignKey(string id) => Ids.Campaign.TryParse(id, out var key) ? key : throw new FormatException(id);

    private static CaseChanged Complaint(CustomerSnapshot customer) =>
        new(Ids.Case.Format(Guid.CreateVersion7()), 1, customer.Id, "complaint", "Late", "high", "returns", "open", "opened", DateTimeOffset.UtcNow, null);

    /// <summary>Encoded words of a header as text.</summary>
    private static string Unfolded(string header) => string.Concat(header.Split(' ').Select(word => word.StartsWith("=?utf-8?B?", StringComparison.Ordinal)
        ? Encoding.UTF8.GetString(Convert.FromBase64String(word[10..^2]))
        : word));

    /// <summary>The text of a part in quoted-printable.</summary>
    private static string Decoded(string part)
    {
        var body = part[(part.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..].Replace("=\r\n", "").Replace("\r\n", "\n");
        var bytes = new List<byte>();
        for (var i = 0; i < body.Length; i++)
        {
            if (body[i] == '=')
            {
                bytes.Add(Convert.ToByte(body[(i + 1)..(i + 3)], 16));
                i += 2;
            }
            else
            {
                bytes.Add((byte)body[i]);
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}
