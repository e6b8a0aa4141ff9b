using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>The lifecycle with orders of the real BillingSync, in the copies, and over a merge and its undo.</summary>
public sealed class LifecycleTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task An_order_makes_an_active_buyer_in_every_copy()
    {
        var customer = await PersonAsync();
        await OrderAsync(customer);
        await UntilAsync(customer, "active_buyer");
        Assert.True(Crm.Contracts.Ids.Customer.TryParse(customer, out var id));
        foreach (var service in new[] { "interactions", "campaigns", "billing-sync", "support" })
        {
            await using var database = Npgsql.NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var copy = database.CreateCommand("SELECT lifecycle FROM customers WHERE id = $1");
                    copy.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
                    return (string?)await copy.ExecuteScalarAsync(Ct);
                },
                lifecycle => lifecycle == "active_buyer", Patience, Ct);
        }
    }

    [Fact]
    public async Task A_survivor_lives_on_with_the_steps_of_both_and_an_undo_gives_each_its_own()
    {
        var (prospect, buyer) = (await PersonAsync(), await PersonAsync());
        await OrderAsync(buyer);
        await UntilAsync(buyer, "active_buyer");
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{buyer}}"],"survivor_id":"{{prospect}}"}""", Ct));
        var shown = preview["manifest"]!["fields"]!["lifecycle"]!;
        Assert.Equal(("active_buyer", buyer, "most_recent"), ((string?)shown["value"], (string?)shown["from"]![0], (string?)shown["rule"]));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same"}""", Ct));
        await UntilAsync(prospect, "active_buyer");
        Assert.Equal(3, (await StepsAsync(prospect)).Count);

        // What is said of the survivor since stays with it.
        await OkAsync(Api.PatchAsync($"v1/customers/{prospect}", """{"lifecycle":"former"}""", "*", Ct));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Not the same"}""", Ct));
        await UntilAsync(buyer, "active_buyer");
        await UntilAsync(prospect, "former");
        Assert.Equal(["prospect>active_buyer order", ">prospect created"], await StepsAsync(buyer));
        Assert.Equal(["active_buyer>former edited", ">prospect created"], await StepsAsync(prospect));
    }

    [Fact]
    public async Task A_lifecycle_chosen_at_a_merge_holds_until_the_undo()
    {
        var (lapsed, enquiry) = (await PersonAsync("lapsed"), await PersonAsync("enquiry"));
        var preview = await OkAsync(Api.PostAsync(
            "v1/merge-previews", $$$"""{"customer_ids":["{{{enquiry}}}"],"survivor_id":"{{{lapsed}}}","choices":{"lifecycle":"{{{lapsed}}}"} }""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same"}""", Ct));
        await UntilAsync(lapsed, "lapsed");
        Assert.Equal("enquiry>lapsed merge", (await StepsAsync(lapsed))[0]);
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Not the same"}""", Ct));
        await UntilAsync(enquiry, "enquiry");
        await UntilAsync(lapsed, "lapsed");
        var steps = (await OkAsync(Api.CallAsync($"v1/customers/{lapsed}/lifecycle", Ct)))["data"]!.AsArray();
        Assert.Equal([true, false], steps.Select(s => s!["voided_at"] is not null));
    }

    private async Task<string> PersonAsync(string lifecycle = "prospect") =>
        (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Life","lifecycle":"{{{lifecycle}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> OrderAsync(string customer) => OkAsync(Api.PutAsync(
        $"v1/orders/by-external-id/shop/{Guid.NewGuid():n}",
        $$$"""{"customer_id":"{{{customer}}}","placed_at":"{{{DateTimeOffset.UtcNow.AddDays(-1):yyyy-MM-dd}}}T10:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}""", Ct));

    private Task UntilAsync(string customer, string lifecycle) =>
        Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{customer}", Ct), c => (string?)c["lifecycle"] == lifecycle, Patience, Ct);

    private async Task<List<string>> StepsAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/customers/{customer}/lifecycle", Ct)))["data"]!.AsArray().Select(s => $"{s!["from"]}>{s["to"]} {s["cause"]}")];
}
