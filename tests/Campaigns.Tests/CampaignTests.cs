using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Campaigns.V1;
using Grpc.Core;
using Grpc.Net.Client;
using static Campaigns.Tests.SegmentDefinitionTests;

namespace Campaigns.Tests;

public sealed class CampaignTests(CampaignsFixture fixture)
{
    [Theory]
    [InlineData("subject", "Hello {{first_name}}", "unknown_variable")]
    [InlineData("subject", "Hello {{given_name", "broken_template")]
    [InlineData("subject", "Hello\r\nBcc: all@example.com", "bad_text")]
    [InlineData("text", "{{#if given_name}}Hello", "broken_template")]
    [InlineData("text", "{{/if}}", "broken_template")]
    [InlineData("text", "{{#if given_name}}x{{/unless}}", "broken_template")]
    [InlineData("text", "{{#if false_name}}{{/if}}", "unknown_variable")]
    [InlineData("text", "{{}}", "broken_template")]
    [InlineData("text", "{{lookup given_name 'Length'}}", "broken_template")]
    [InlineData("text", "{{#each given_name}}x{{/each}}", "broken_template")]
    [InlineData("text", "{{> partial}}", "broken_template")]
    [InlineData("text", "{{given_name.Length}}", "unknown_variable")]
    [InlineData("html", "<p>{{{given_name}}}</p>", "broken_template")]
    [InlineData("html", "<p>{{&given_name}}</p>", "broken_template")]
    [InlineData("html", "<p>{{town}}</p>", "unknown_variable")]
    public async Task A_template_that_would_not_render_is_refused_with_its_part(string part, string template, string code)
    {
        var parts = new Dictionary<string, string> { ["subject"] = "Hello", ["text"] = "Hello", ["html"] = "<p>Hello</p>", [part] = template };
        var response = await fixture.Campaigns.PostAsJsonAsync("/v1/campaigns", new { name = "bad", segment_id = await SegmentAsync(), channel = "email", template = parts });
        await AssertProblemAsync(response, HttpStatusCode.BadRequest, "validation_failed", $"/template/{part}", code);
    }

    [Theory]
    [InlineData("""{"segment_id":"SEG","template":{"subject":"a","text":"b"}}""", 400, "/name", "required")]
    [InlineData("""{"name":"n","segment_id":"SEG"}""", 400, "/template", "required")]
    [InlineData("""{"name":"n","segment_id":"SEG","template":{"text":"b"}}""", 400, "/template/subject", "required")]
    [InlineData("""{"name":"n","segment_id":"SEG","channel":"fax","template":{"subject":"a","text":"b"}}""", 400, "/channel", "wrong_type")]
    [InlineData("""{"name":"n","segment_id":"SEG","colour":"red","template":{"subject":"a","text":"b"}}""", 400, "/colour", "unknown_field")]
    [InlineData("""{"name":"n","segment_id":"seg_00000000000000000000000000","template":{"subject":"a","text":"b"}}""", 422, "/segment_id", "unknown_reference")]
    [InlineData("""{"name":"n","segment_id":"nonsense","template":{"subject":"a","text":"b"}}""", 422, "/segment_id", "unknown_reference")]
    public async Task A_bad_campaign_is_refused_with_the_field(string body, int status, string pointer, string code)
    {
        var response = await fixture.Campaigns.PostAsync("/v1/campaigns", CampaignsFixture.Json(body.Replace("SEG", await SegmentAsync())));
        await AssertProblemAsync(response, (HttpStatusCode)status, status == 400 ? "validation_failed" : "unknown_reference", pointer, code);
    }

    [Fact]
    public async Task A_draft_can_be_changed_and_a_launched_campaign_cannot()
    {
        await fixture.MailServerAsync();
        var id = await fixture.DraftAsync(CampaignsFixture.NewBatch());
        var draft = await fixture.GetAsync($"/v1/campaigns/{id}");
        Assert.Equal("draft", (string)draft["status"]!);
        Assert.Null((await fixture.GetAsync($"/v1/campaigns/{id}/results"))["completed_at"]);

        var changed = await CampaignsFixture.BodyAsync(await PatchAsync(id, """{"template":{"html":"<b>{{given_name}}</b>"}}""", "\"1\""));
        Assert.Equal("We miss you, {{given_name}}", (string)changed["template"]!["subject"]!);
        Assert.Equal("<b>{{given_name}}</b>", (string)changed["template"]!["html"]!);
        await AssertProblemAsync(await PatchAsync(id, """{"name":"x"}""", "\"1\""), HttpStatusCode.PreconditionFailed, "stale_version");
        await AssertProblemAsync(await PatchAsync(id, """{"template":{"text":"{{town}}"}}""", "\"2\""), HttpStatusCode.BadRequest, "validation_failed", "/template/text", "unknown_variable");

        // Nobody is in the segment: complete at once.
        await fixture.LaunchAsync(id);
        var results = await fixture.CompletedAsync(id);
        Assert.Equal(0, (long)results["members"]!);
        Assert.Equal("completed", (string)(await fixture.GetAsync($"/v1/campaigns/{id}"))["status"]!);
        await AssertProblemAsync(await PatchAsync(id, """{"name":"x"}""", "*"), HttpStatusCode.Conflict, "conflict");
        await AssertProblemAsync(await fixture.Campaigns.PostAsync($"/v1/campaigns/{id}/launch", null), HttpStatusCode.Conflict, "conflict");
    }

    [Fact]
    public async Task Of_twenty_launches_at_once_one_counts()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 20));
        var id = await fixture.DraftAsync(batch);
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => fixture.Campaigns.PostAsync($"/v1/campaigns/{id}/launch", null)));
        Assert.Single(answers, a => a.StatusCode == HttpStatusCode.OK);
        Assert.Equal(19, answers.Count(a => a.StatusCode == HttpStatusCode.Conflict));
        Assert.Equal(20, (long)(await fixture.CompletedAsync(id))["sent"]!);
        Assert.Equal(20, sink.Count);
    }

    [Fact]
    public async Task A_launch_sent_twice_under_one_idempotency_key_is_answered_twice_and_done_once()
    {
        var sink = await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 5));
        var id = await fixture.DraftAsync(batch);
        for (var i = 0; i < 2; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, $"/v1/campaigns/{id}/launch");
            request.Headers.Add("Idempotency-Key", batch);
            Assert.Equal(HttpStatusCode.OK, (await fixture.Campaigns.SendAsync(request)).StatusCode);
        }

        await fixture.CompletedAsync(id);
        Assert.Equal(5, sink.Count);
    }

    [Fact]
    public async Task Unknown_ids_are_not_found()
    {
        foreach (var path in (string[])["cmp_00000000000000000000000000", "cmp_00000000000000000000000000/results", "cmp_00000000000000000000000000/messages", "nonsense"])
        {
            await AssertProblemAsync(await fixture.Campaigns.GetAsync($"/v1/campaigns/{path}"), HttpStatusCode.NotFound, "not_found");
        }

        await AssertProblemAsync(await fixture.Campaigns.PostAsync("/v1/campaigns/nonsense/launch", null), HttpStatusCode.NotFound, "not_found");
    }

    [Fact]
    public async Task The_overview_shows_a_customers_messages_and_consents()
    {
        await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        var customer = CampaignsFixture.Customer(batch, $"{batch}@example.com");
        await fixture.RegisterAsync([customer]);
        var campaign = await fixture.DraftAsync(batch);
        await fixture.LaunchAsync(campaign);
        await fixture.CompletedAsync(campaign);

        using var channel = GrpcChannel.ForAddress(fixture.Platform["campaigns"].GrpcAddress!);
        var client = new Crm.Contracts.Campaigns.V1.Campaigns.CampaignsClient(channel);
        var overview = await client.GetCustomerOverviewAsync(new GetCustomerOverviewRequest { CustomerId = customer.Id }, Headers(Scopes.CampaignsRead));
        Assert.Equal(1, overview.MessagesSent);
        Assert.NotNull(overview.LastMessageAt);
        var message = Assert.Single(overview.Recent);
        Assert.Equal((campaign, $"Campaign {batch}", "email", "sent"), (message.CampaignId, message.CampaignName, message.Channel, message.Status));
        var consent = Assert.Single(overview.Consents);
        Assert.Equal(("email", "marketing", "granted"), (consent.Channel, consent.Purpose, consent.State));

        Assert.Equal(StatusCode.NotFound, await StatusAsync(Ids.Customer.Format(Guid.CreateVersion7()), Scopes.CampaignsRead));
        Assert.Equal(StatusCode.InvalidArgument, await StatusAsync("nonsense", Scopes.CampaignsRead));
        Assert.Equal(StatusCode.PermissionDenied, await StatusAsync(customer.Id, Scopes.CustomersRead));

        Metadata Headers(string scope) => new() { { "authorization", $"Bearer {fixture.Token(scope)}" } };
        async Task<StatusCode> StatusAsync(string id, string scope) => (await Assert.ThrowsAsync<RpcException>(
            () => client.GetCustomerOverviewAsync(new GetCustomerOverviewRequest { CustomerId = id }, Headers(scope)).ResponseAsync)).StatusCode;
    }

    [Fact]
    public async Task Rows_that_refer_to_another_are_found_from_it_by_an_index_in_every_table()
    {
        var ct = TestContext.Current.CancellationToken;
        var references = new List<(string Column, bool Indexed)>();
        await using var list = fixture.Database.CreateCommand("""
            SELECT format('%s.%s', r.relname, a.attname), EXISTS (
                SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indpred IS NULL AND i.indkey[0] = a.attnum)
            FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.contype = 'f'
            """);
        await using var reader = await list.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
        {
            references.Add((reader.GetString(0), reader.GetBoolean(1)));
        }

        Assert.Contains(("campaign_addresses.message_id", true), references);
        Assert.DoesNotContain(references, r => !r.Indexed);
    }

    private async Task<string> SegmentAsync() =>
        (string)(await fixture.PostAsync("/v1/segments", JsonNode.Parse("""{"name":"gold","definition":{"fact":"tier","eq":"gold"}}""")!))["id"]!;

    private async Task<HttpResponseMessage> PatchAsync(string id, string body, string ifMatch)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, $"/v1/campaigns/{id}") { Content = new StringContent(body, new MediaTypeHeaderValue("application/merge-patch+json")) };
        request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        return await fixture.Campaigns.SendAsync(request);
    }
}
