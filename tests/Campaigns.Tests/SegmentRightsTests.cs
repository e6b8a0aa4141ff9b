using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;

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
        Assert.Equal(System.Net.HttpStatusCode.Created, defined.StatusCode);
        using var marketing = fixture.CreateClient("campaigns", new TokenSubject("key_role", [Scopes.SegmentsRead, Scopes.SegmentsWrite], ["marketing"], []));
        await RefusedAsync(await marketing.PostAsync("/v1/segments/preview", Json($$$"""{"definition":{"all":[{"fact":"attributes.{{{name}}}","exists":true}]}}"""), Ct));
        using var open = await marketing.PostAsync("/v1/segments/preview", Json("""{"definition":{"all":[{"fact":"attributes.shoe","exists":true}]}}"""), Ct);
        Assert.Equal(System.Net.HttpStatusCode.OK, open.StatusCode);
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
