using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Testing;

namespace Campaigns.Tests;

public sealed class SegmentRightsTests(CampaignsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("""{"fact":"email","contains":"ada"}""", "marketing")]
    [InlineData("""{"not":{"any":[{"fact":"kind","eq":"person"},{"fact":"orders.spend","gte":1,"currency":"USD"}]}}""", "marketing")]
    [InlineData("""{"all":[{"fact":"attributes.shoe","eq":38}]}""", "support")]
    public async Task Nobody_counts_or_lists_by_a_fact_that_the_own_roles_hide(string definition, string role)
    {
        using var caller = fixture.CreateClient("campaigns", new TokenSubject("key_role", [Scopes.SegmentsRead, Scopes.SegmentsWrite], [role], []));
        foreach (var (path, body) in new[] { ("/v1/segments/preview", $$"""{"definition":{{definition}}}"""), ("/v1/segments", $$"""{"name":"x","definition":{{definition}}}""") })
        {
            await RefusedAsync(await caller.PostAsync(path, Json(body), Ct));
        }

        var segment = await fixture.PostAsync("/v1/segments", JsonNode.Parse($$"""{"name":"theirs","definition":{{definition}}}""")!);
        var read = await caller.GetFromJsonAsync<JsonObject>($"/v1/segments/{segment["id"]}", Ct);
        Assert.NotNull(segment["count"]);
        Assert.False(read!.ContainsKey("count"));
        await RefusedAsync(await caller.GetAsync($"/v1/segments/{segment["id"]}/members", Ct));
    }

    [Fact]
    public async Task Nobody_counts_by_an_attribute_whose_own_field_group_the_roles_hide()
    {
        var name = $"f{Guid.NewGuid():n}";
        using var contacts = fixture.CreateClient("contacts");
        using var defined = await contacts.PostAsync("/v1/custom-fields", Json($$"""{"name":"{{name}}","label":"L","type":"text","field_group":"identity"}"""), Ct);
        Assert.Equal(HttpStatusCode.Created, defined.StatusCode);
        using var marketing = fixture.CreateClient("campaigns", new TokenSubject("key_role", [Scopes.SegmentsRead, Scopes.SegmentsWrite], ["marketing"], []));
        await RefusedAsync(await marketing.PostAsync("/v1/segments/preview", Json($$$"""{"definition":{"all":[{"fact":"attributes.{{{name}}}","exists":true}]}}"""), Ct));
        using var open = await marketing.PostAsync("/v1/segments/preview", Json("""{"definition":{"all":[{"fact":"attributes.shoe","exists":true}]}}"""), Ct);
        Assert.Equal(HttpStatusCode.OK, open.StatusCode);
    }

    [Fact]
    public async Task Nobody_learns_from_a_campaign_who_is_in_a_segment_by_a_fact_that_the_own_roles_hide()
    {
        await fixture.MailServerAsync();
        var batch = CampaignsFixture.NewBatch();
        await fixture.RegisterAsync(CampaignsFixture.Crowd(batch, 2));
        var definition = $$$"""{"all":[{"fact":"attributes.batch","eq":"{{{batch}}}"},{"fact":"orders.spend","lt":1,"currency":"USD"}]}""";
        var segment = await fixture.PostAsync("/v1/segments", JsonNode.Parse($$"""{"name":"theirs","definition":{{definition}}}""")!);
        using var marketing = fixture.CreateClient(
            "campaigns", new TokenSubject("key_role", [Scopes.SegmentsRead, Scopes.SegmentsWrite, Scopes.CampaignsRead, Scopes.CampaignsWrite], ["marketing"], []));
        var campaign = await marketing.PostAsync("/v1/campaigns", $$$"""{"name":"c","segment_id":"{{{segment["id"]}}}","template":{"subject":"a","text":"b"}}""", Ct);
        Assert.True(campaign.Status == HttpStatusCode.Created, campaign.ToString());
        var path = $"/v1/campaigns/{campaign["id"]}";
        await HiddenAsync();
        var launched = await marketing.CallAsync(HttpMethod.Post, $"{path}/launch", ct: Ct);
        Assert.True(launched.Status == HttpStatusCode.OK, launched.ToString());
        await HiddenAsync();

        // What the segment asks afterwards says nothing of who was in it.
        var other = await marketing.PatchAsync($"/v1/segments/{segment["id"]}", """{"definition":{"fact":"kind","eq":"person"}}""", "*", Ct);
        Assert.True(other.Status == HttpStatusCode.OK, other.ToString());
        await HiddenAsync();
        Assert.Equal(2, (long)(await fixture.CompletedAsync((string)campaign["id"]!))["sent"]!);
        Assert.Equal("completed", (string?)(await marketing.CallAsync(path, Ct))["status"]);

        // Who is told of the messages is told what it takes to see that they were sent.
        var sent = await Eventually.GetAsync(
            () => Task.FromResult(fixture.SentEvents.Where(e => e.CampaignId == (string?)campaign["id"]).ToList()), events => events.Count >= 2, ct: Ct);
        Assert.All(sent, e => Assert.Equal("custom_fields finance", string.Join(' ', e.AskedGroups!.Order())));

        // By a fact that it sees, it sees both.
        var open = $"/v1/campaigns/{await fixture.DraftAsync(batch)}";
        foreach (var ledger in (string[])["messages", "results"])
        {
            Assert.Equal(HttpStatusCode.OK, (await marketing.CallAsync($"{open}/{ledger}", Ct)).Status);
        }

        async Task HiddenAsync()
        {
            await RefusedAsync(await marketing.GetAsync($"{path}/messages", Ct));
            await RefusedAsync(await marketing.GetAsync($"{path}/results", Ct));
        }
    }

    private static StringContent Json(string body) => new(body, System.Text.Encoding.UTF8, "application/json");

    private static async Task RefusedAsync(HttpResponseMessage answer)
    {
        using (answer)
        {
            var problem = JsonNode.Parse(await answer.Content.ReadAsStringAsync(Ct))!;
            Assert.Equal((403, "field_forbidden"), ((int)answer.StatusCode, (string?)problem["code"]));
        }
    }
}
