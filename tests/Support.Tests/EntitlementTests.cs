using System.Net;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;

namespace Support.Tests;

/// <summary>What a customer's tier means to its cases.</summary>
public sealed class EntitlementTests(SupportFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_case_of_an_entitled_customer_goes_first_unless_something_else_was_said()
    {
        var (customer, tier) = (await fixture.CustomerAsync(), $"t-{Guid.NewGuid():n}");
        Assert.Equal("normal", await PriorityAsync(customer));
        await fixture.Contacts.PutAsync($"/v1/tiers/{tier}", """{"rank":50,"entitlements":{"priority_queue":true}}""", Ct);
        var changed = await fixture.Contacts.PatchAsync($"/v1/customers/{customer}", $$"""{"tier":"{{tier}}"}""", "*", Ct);
        Assert.Equal(HttpStatusCode.OK, changed.Status);
        await UntilEntitledAsync(customer, true);
        Assert.Equal("high", await PriorityAsync(customer));
        Assert.Equal("low", await PriorityAsync(customer, ""","priority":"low" """));
        Assert.Equal("normal", await PriorityAsync(customer, ""","queue":"returns" """));

        // From another system, and again.
        var path = $"/v1/cases/by-external-id/desk/{Guid.NewGuid():n}";
        var body = $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it"}""";
        var (first, second) = (await fixture.Api.PutAsync(path, body, Ct), await fixture.Api.PutAsync(path, body, Ct));
        Assert.Equal(("high", "unchanged"), ((string?)first["priority"], (string?)second["result"]));

        await fixture.Contacts.CallAsync(HttpMethod.Put, $"/v1/tiers/{tier}", """{"rank":50}""", [("If-Match", "\"1\"")], Ct);
        await UntilEntitledAsync(customer, false);
        Assert.Equal("normal", await PriorityAsync(customer));
    }

    private async Task<string?> PriorityAsync(string customer, string more = "")
    {
        var opened = await fixture.Api.PostAsync("/v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it"{{more}}}""", Ct);
        Assert.True(opened.Status == HttpStatusCode.Created, opened.ToString());
        return (string?)opened["priority"];
    }

    private Task UntilEntitledAsync(string customer, bool entitled) => Eventually.GetAsync(
        async () =>
        {
            await using var known = fixture.Database.CreateCommand("SELECT coalesce((SELECT t.priority_queue FROM customers c JOIN tiers t ON t.name = c.tier WHERE c.id = $1), NOT $2)");
            known.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(customer) });
            known.Parameters.Add(new NpgsqlParameter<bool> { TypedValue = entitled });
            return (bool)(await known.ExecuteScalarAsync(Ct))!;
        },
        known => known == entitled, ct: Ct);
}
