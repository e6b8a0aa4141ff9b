using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using static Campaigns.Tests.SegmentDefinitionTests;

namespace Campaigns.Tests;

public sealed class SegmentTests(CampaignsFixture fixture)
{
    [Fact]
    public async Task A_segment_reads_back_as_it_was_defined_with_its_live_count()
    {
        var batch = CampaignsFixture.NewBatch();
        var created = await fixture.PostAsync("/v1/segments", JsonNode.Parse($$$"""{"name":"Mine","as_of":"1998-06-30","definition":{"fact":"attributes.batch","eq":"{{{batch}}}"}}""")!);
        Assert.Equal(0, (long)created["count"]!);
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 3), consent: false);
        var response = await fixture.Campaigns.GetAsync($"/v1/segments/{created["id"]}");
        var read = await CampaignsFixture.BodyAsync(response);
        Assert.Equal("\"1\"", response.Headers.ETag!.Tag);
        Assert.Equal(3, (long)read["count"]!);
        Assert.Equal("1998-06-30", (string)read["as_of"]!);
        Assert.Equal($$$"""{"fact":"attributes.batch","eq":"{{{batch}}}"}""", read["definition"]!.ToJsonString());
    }

    [Fact]
    public async Task Members_are_paged_and_each_is_seen_once()
    {
        var batch = CampaignsFixture.NewBatch();
        var customers = CampaignsFixture.Crowd(batch, 23);
        await fixture.RegisterAsync(customers, consent: false);
        var segment = await fixture.PostAsync("/v1/segments", new { name = "paged", definition = CampaignsFixture.OfBatch(batch) });
        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var page = await fixture.GetAsync($"/v1/segments/{segment["id"]}/members?limit=5{(cursor is null ? "" : $"&cursor={cursor}")}");
            seen.AddRange(page["data"]!.AsArray().Select(m => (string)m!["customer_id"]!));
            Assert.Equal(page["next_cursor"] is not null, (bool)page["has_more"]!);
            cursor = (string?)page["next_cursor"];
        }
        while (cursor is not null);

        Assert.Equal(customers.Select(c => c.Id).OrderDescending(StringComparer.Ordinal), seen);
    }

    [Fact]
    public async Task A_preview_counts_and_samples_and_stores_nothing()
    {
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 12), consent: false);
        var before = await fixture.NumberAsync("SELECT count(*) FROM segments");
        var preview = await fixture.PostAsync("/v1/segments/preview", new { definition = CampaignsFixture.OfBatch(batch) });
        Assert.Equal(12, (long)preview["count"]!);
        Assert.Equal(10, preview["sample"]!.AsArray().Count);
        Assert.Equal(before, await fixture.NumberAsync("SELECT count(*) FROM segments"));
    }

    [Fact]
    public async Task A_change_needs_the_version_that_was_read()
    {
        var segment = await fixture.PostAsync("/v1/segments", JsonNode.Parse("""{"name":"Old","as_of":"1998-06-30","definition":{"fact":"tier","eq":"gold"}}""")!);
        var path = $"/v1/segments/{segment["id"]}";
        await AssertProblemAsync(await PatchAsync(path, """{"name":"New"}""", null), HttpStatusCode.PreconditionRequired, "precondition_required");
        await AssertProblemAsync(await PatchAsync(path, """{"name":"New"}""", "\"7\""), HttpStatusCode.PreconditionFailed, "stale_version");

        // A definition is one value: its operator is replaced, not added.
        var changed = await CampaignsFixture.BodyAsync(await PatchAsync(path, """{"name":"New","as_of":null,"definition":{"fact":"tier","in":["gold","vip"]}}""", "\"1\""));
        Assert.Equal("New", (string)changed["name"]!);
        Assert.Null(changed["as_of"]);
        Assert.Equal("""{"fact":"tier","in":["gold","vip"]}""", changed["definition"]!.ToJsonString());
        Assert.Equal(2, (long)changed["version"]!);

        await AssertProblemAsync(await PatchAsync(path, """{"definition":{"fact":"tier","in":["gold","tin"]}}""", "\"2\""), HttpStatusCode.BadRequest, "validation_failed", "/definition/in/1", "unknown_value");
        await AssertProblemAsync(await PatchAsync(path, """{"definition":null}""", "\"2\""), HttpStatusCode.BadRequest, "validation_failed", "/definition", "required");
    }

    [Fact]
    public async Task Only_a_segment_that_no_campaign_names_can_be_deleted()
    {
        var campaign = await fixture.GetAsync($"/v1/campaigns/{await fixture.DraftAsync(CampaignsFixture.NewBatch())}");
        await AssertProblemAsync(await DeleteAsync($"/v1/segments/{campaign["segment_id"]}", "*"), HttpStatusCode.Conflict, "conflict");

        var segment = await fixture.PostAsync("/v1/segments", JsonNode.Parse("""{"name":"Gone","definition":{"fact":"tier","eq":"gold"}}""")!);
        var path = $"/v1/segments/{segment["id"]}";
        Assert.Equal(HttpStatusCode.PreconditionRequired, (await DeleteAsync(path, null)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(path, "\"1\"")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await fixture.Campaigns.GetAsync(path)).StatusCode);
    }

    [Fact]
    public async Task A_list_has_no_counts_and_knows_its_parameters()
    {
        await fixture.PostAsync("/v1/segments", JsonNode.Parse("""{"name":"Listed","definition":{"fact":"tier","eq":"gold"}}""")!);
        var list = await fixture.GetAsync("/v1/segments?limit=1");
        Assert.Equal("Listed", (string)list["data"]![0]!["name"]!);
        Assert.Null(list["data"]![0]!["count"]);
        await AssertProblemAsync(await fixture.Campaigns.GetAsync("/v1/segments?colour=red"), HttpStatusCode.BadRequest, "unknown_parameter");
        await AssertProblemAsync(await fixture.Campaigns.GetAsync("/v1/segments?limit=101"), HttpStatusCode.BadRequest, "invalid_parameter");
    }

    [Fact]
    public async Task Each_call_needs_its_scope()
    {
        using var reader = fixture.CreateClient("campaigns", Scopes.SegmentsRead);
        await AssertProblemAsync(await reader.PostAsync("/v1/segments", CampaignsFixture.Json("{}")), HttpStatusCode.Forbidden, "insufficient_scope");
        await AssertProblemAsync(await reader.GetAsync("/v1/campaigns"), HttpStatusCode.Forbidden, "insufficient_scope");
        Assert.Equal(HttpStatusCode.OK, (await reader.GetAsync("/v1/segments")).StatusCode);
    }

    [Fact]
    public async Task Facts_that_come_late_or_twice_change_nothing()
    {
        var batch = CampaignsFixture.NewBatch();
        var customer = CampaignsFixture.Customer(batch);
        var order = new OrderRecorded(Ids.Order.Format(Guid.CreateVersion7()), 3, customer.Id, DateTimeOffset.UtcNow, 1, new Money(100, "USD"), "completed");
        var complaint = new CaseChanged(Ids.Case.Format(Guid.CreateVersion7()), 2, customer.Id, "complaint", "Late", "normal", "returns", "solved", "solved", DateTimeOffset.UtcNow, null);
        // The facts first: nobody knows the customer yet.
        await fixture.PublishAsync(order, order);
        await fixture.PublishAsync(complaint);
        await fixture.UntilAsync(1, "SELECT count(*) FROM orders WHERE customer_id = $1 AND version = 3", CampaignsFixture.Key(customer.Id));
        await fixture.UntilAsync(1, "SELECT count(*) FROM cases WHERE customer_id = $1 AND version = 2", CampaignsFixture.Key(customer.Id));
        await fixture.PublishAsync(order with { Version = 2, Status = "cancelled" }, order with { Version = 3, Status = "cancelled" });
        await fixture.PublishAsync(complaint with { Version = 1, Status = "open" });
        await fixture.RegisterAsync([customer], consent: false);
        await fixture.PublishAsync(order with { Id = Ids.Order.Format(Guid.CreateVersion7()), Version = 1 });
        await fixture.UntilAsync(2, "SELECT count(*) FROM orders WHERE customer_id = $1", CampaignsFixture.Key(customer.Id));

        var preview = await fixture.PostAsync("/v1/segments/preview", JsonNode.Parse($$$"""
            {"definition":{"all":[{"fact":"attributes.batch","eq":"{{{batch}}}"},{"fact":"orders.count","eq":2},{"fact":"complaints.open","exists":false}]}}
            """)!);
        Assert.Equal(1, (long)preview["count"]!);
    }

    private async Task<HttpResponseMessage> PatchAsync(string path, string body, string? ifMatch)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, path) { Content = new StringContent(body, new MediaTypeHeaderValue("application/merge-patch+json")) };
        if (ifMatch is not null)
        {
            request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        }

        return await fixture.Campaigns.SendAsync(request);
    }

    private async Task<HttpResponseMessage> DeleteAsync(string path, string? ifMatch)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, path);
        if (ifMatch is not null)
        {
            request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        }

        return await fixture.Campaigns.SendAsync(request);
    }
}
