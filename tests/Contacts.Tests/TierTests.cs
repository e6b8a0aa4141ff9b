using System.Net;
using System.Text.Json.Nodes;

namespace Contacts.Tests;

/// <summary>Tiers and what they entitle to, as data.</summary>
public sealed class TierTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task The_four_that_there_always_were_are_there_and_of_them_vip_has_a_priority_queue()
    {
        var tiers = (await GetAsync("/v1/tiers"))["data"]!.AsArray().Select(t => ((string?)t!["name"], (bool)t["entitlements"]!["priority_queue"]!)).ToList();
        Assert.Equal([("vip", true), ("gold", false), ("silver", false), ("standard", false)], tiers.Where(t => t.Item1 is "vip" or "gold" or "silver" or "standard"));
        var (nobody, problem) = await SendAsync(HttpMethod.Get, "/v1/tiers/platinum");
        AssertProblem(nobody, problem, 404, "not_found");
    }

    [Fact]
    public async Task A_tier_is_defined_and_changed_under_its_version_and_customers_can_have_it()
    {
        var name = $"t-{Unique()}";
        var (made, tier) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", """{"rank":40,"entitlements":{"priority_queue":true,"price_list":"best","response_minutes":15}}""");
        Assert.Equal((HttpStatusCode.Created, "\"1\"", "best"), (made.StatusCode, made.Headers.ETag!.Tag, (string?)tier["entitlements"]!["price_list"]));

        var (missing, required) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", """{"rank":41}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var (old, stale) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", """{"rank":41}""", ("If-Match", "\"2\""));
        AssertProblem(old, stale, 412, "stale_version");
        var (changed, now) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", """{"rank":41,"entitlements":{"sla_policy":"fast"}}""", ("If-Match", "\"1\""));
        Assert.Equal((HttpStatusCode.OK, "\"2\"", "fast", false), (changed.StatusCode, changed.Headers.ETag!.Tag, (string?)now["entitlements"]!["sla_policy"], (bool)now["entitlements"]!["priority_queue"]!));
        var (same, _) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", """{"rank":41,"entitlements":{"sla_policy":"fast"}}""", ("If-Match", "\"2\""));
        Assert.Equal("\"2\"", same.Headers.ETag!.Tag);

        var customer = await CreateAsync($$$"""{"kind":"person","given_name":"Ada","tier":"{{{name}}}","source":{"type":"enquiry"}}""");
        Assert.Equal(name, (string?)customer["tier"]);
        var wire = await Grpc().GetCustomerAsync(new() { Id = (string)customer["id"]! }, AsUser("customers:read"), cancellationToken: Ct);
        Assert.Equal((name, "fast", 0), (wire.Snapshot.Tier, wire.Entitlements.SlaPolicy, wire.Entitlements.ResponseMinutes));
    }

    [Theory]
    [InlineData("new", """{}""", 400, "/rank")]
    [InlineData("new", """{"rank":-1}""", 400, "/rank")]
    [InlineData("new", """{"rank":1,"entitlements":{"response_minutes":0}}""", 400, "/entitlements/response_minutes")]
    [InlineData("new", """{"rank":1,"entitlements":{"price_list":"Best prices"}}""", 400, "/entitlements/price_list")]
    [InlineData("new", """{"rank":1,"entitlements":{"free_coffee":true}}""", 400, "/entitlements/free_coffee")]
    [InlineData("Not%20a%20slug", """{"rank":1}""", 400, "name")]
    public async Task What_no_service_could_grant_is_refused(string name, string body, int status, string pointer)
    {
        var (response, problem) = await SendAsync(HttpMethod.Put, $"/v1/tiers/{name}", body);
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Contains(pointer, problem["errors"]!.AsArray().Select(e => (string?)e!["pointer"]));
        Assert.Equal(404, (int)(await SendAsync(HttpMethod.Get, $"/v1/tiers/{name}")).Response.StatusCode);
    }

    [Fact]
    public async Task A_customer_has_a_tier_that_is_known()
    {
        var (created, unknown) = await SendAsync(HttpMethod.Post, "/v1/customers", """{"kind":"person","given_name":"Ada","tier":"platinum","source":{"type":"enquiry"}}""");
        AssertProblem(created, unknown, 422, "unknown_reference", "/tier");
        var customer = await CreatePersonAsync();
        var (patched, refused) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"tier":"platinum"}""", ("If-Match", "\"1\""));
        AssertProblem(patched, refused, 422, "unknown_reference", "/tier");
        var (put, neither) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{Unique()}", """{"kind":"person","given_name":"Ada","tier":"platinum","source":{"type":"enquiry"}}""");
        AssertProblem(put, neither, 422, "unknown_reference", "/tier");
    }

    [Fact]
    public async Task Who_may_change_customers_may_not_change_what_they_are_entitled_to()
    {
        using var sales = Fixture.CreateClient("contacts", "customers:read", "customers:write");
        using var body = new StringContent("""{"rank":1}""", System.Text.Encoding.UTF8, "application/json");
        using var response = await sales.PutAsync("/v1/tiers/vip", body, Ct);
        Assert.Equal("insufficient_scope", (string?)JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!["code"]);
    }

    private async Task<JsonNode> GetAsync(string path)
    {
        var (response, body) = await SendAsync(HttpMethod.Get, path);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }
}
