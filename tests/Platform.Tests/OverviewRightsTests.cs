using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>What the overview of a customer tells whom, through the public door.</summary>
public sealed class OverviewRightsTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task The_overview_tells_nobody_of_a_campaign_to_a_segment_by_a_fact_that_the_own_roles_hide()
    {
        var batch = $"b{Guid.NewGuid():n}";
        var ada = (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""
            {"kind":"person","given_name":"Ada","emails":[{"address":"{{{batch}}}@example.com"}],"source":{"type":"enquiry"},"attributes":{"batch":"{{{batch}}}"}}
            """, Ct)))["id"]!;
        await OkAsync(Api.PostAsync($"v1/customers/{ada}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""", Ct));
        var (open, _) = await SendAsync(batch, "");
        var (hidden, segment) = await SendAsync(batch, $$""",{"fact":"email","contains":"{{batch}}"}""");

        using var admin = Fixture.Platform.CreateClient("admin");
        var key = await OkAsync(admin.PostAsync("v1/keys", """{"name":"marketing","scopes":["customers:read","campaigns:read"],"roles":["marketing"]}""", Ct));
        using var marketing = Fixture.Platform.CreateClient((string?)key["key"]);
        Assert.Equal("field_forbidden", (await marketing.CallAsync($"v1/campaigns/{hidden}/messages", Ct)).Code);
        var all = await CampaignsAsync(Api);
        Assert.Equal(2, (int)all["messages_sent"]!);
        Assert.Equal([hidden, open], Recent(all));
        await OnlyOpenAsync();

        // What the segment asks afterwards says nothing of who was in it.
        await OkAsync(Api.PatchAsync($"v1/segments/{segment}", """{"definition":{"fact":"kind","eq":"person"}}""", "*", Ct));
        await OnlyOpenAsync();

        // Nor does the timeline, to who could look up which one was sent at its time.
        var analysis = await OkAsync(admin.PostAsync("v1/keys", """{"name":"analyst","scopes":["customers:read","interactions:read","campaigns:read"],"roles":["analyst"]}""", Ct));
        using var analyst = Fixture.Platform.CreateClient((string?)analysis["key"]);
        await Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{ada}/timeline?type=message", Ct), t => t.Data.Count == 2, ct: Ct);
        Assert.Equal("message", (string?)Assert.Single((await analyst.CallAsync($"v1/customers/{ada}/timeline?type=message", Ct)).Data)["summary"]);
        var told = await Eventually.GetAsync(() => analyst.CallAsync($"v1/customers/{ada}/overview", Ct), o => (string?)o["interactions"]!["status"] == "ok", ct: Ct);
        Assert.Single(told["interactions"]!["recent"]!.AsArray(), e => (string?)e!["type"] == "message");

        async Task OnlyOpenAsync()
        {
            var theirs = await CampaignsAsync(marketing);
            Assert.Equal(1, (int)theirs["messages_sent"]!);
            Assert.Equal([open], Recent(theirs));
            Assert.True((DateTimeOffset)theirs["last_message_at"]! < (DateTimeOffset)all["last_message_at"]!, theirs.ToJsonString());
            Assert.Equal("granted", (string?)Assert.Single(theirs["consents"]!.AsArray())!["state"]);
        }

        static IEnumerable<string> Recent(JsonNode campaigns) => campaigns["recent"]!.AsArray().Select(m => (string)m!["campaign_id"]!);

        // A part that was late is there the next time.
        async Task<JsonNode> CampaignsAsync(HttpClient caller) => (await Eventually.GetAsync(
            () => caller.CallAsync($"v1/customers/{ada}/overview", Ct), o => (string?)o["campaigns"]!["status"] == "ok", ct: Ct))["campaigns"]!;
    }
}
