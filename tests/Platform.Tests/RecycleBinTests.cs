using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>The recycle bin in all services: what a deleted customer answers there, what still comes to it, and what comes back.</summary>
public sealed class RecycleBinTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];

    [Fact]
    public async Task A_deleted_customer_is_out_of_sight_in_every_service_its_orders_still_come_to_it_and_all_comes_back()
    {
        var batch = $"b{Guid.NewGuid():n}";
        var customer = await PersonAsync(batch);
        await OrderAsync(customer);
        await Eventually.GetAsync(() => MembersAsync(batch), n => n == 1, Patience, Ct);
        await Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{customer}", Ct), c => (string?)c["lifecycle"] == "active_buyer", Patience, Ct);

        await DeleteAsync(customer);
        await UntilCopiedAsync(customer, "deleted");
        foreach (var path in new[] { "", "/overview", "/timeline", "/account", "/billing-accounts", "/consents", "/history" })
        {
            await UntilGoneAsync($"v1/customers/{customer}{path}");
        }

        Assert.Equal(0, await MembersAsync(batch));
        await OrderAsync(customer);

        var restored = await OkAsync(Api.PostAsync($"v1/recycle-bin/{customer}/restore", "{}", Ct));
        Assert.Equal((batch, "active_buyer"), ((string?)restored["external_ids"]![0]!["id"], (string?)restored["lifecycle"]));
        await UntilCopiedAsync(customer, "active");
        Assert.Equal(2, (int)(await OkAsync(Api.CallAsync($"v1/customers/{customer}/account", Ct)))["orders"]!);
        Assert.Equal(1, await MembersAsync(batch));
    }

    [Fact]
    public async Task Nobody_is_deleted_during_a_merge_whoever_was_merged_goes_and_comes_with_the_survivor_and_the_undo_waits_for_it()
    {
        var (survivor, absorbed) = (await PersonAsync(Guid.NewGuid().ToString("n")), await PersonAsync(Guid.NewGuid().ToString("n")));
        // The first question between two services can be late where the machine is busy.
        var preview = await Eventually.GetAsync(
            () => Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{absorbed}}"],"survivor_id":"{{survivor}}"}""", Ct), p => p.Status == HttpStatusCode.Created, Patience, Ct);
        string merge;
        await Fixture.Platform["support"].KillAsync();
        try
        {
            merge = (string)(await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same"}""", Ct)))["id"]!;
            var early = await Api.CallAsync(HttpMethod.Delete, $"v1/customers/{survivor}", headers: [("If-Match", "*")], ct: Ct);
            Assert.Equal(("merge_running", merge), (early.Code, (string?)early["merge_id"]));
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge}", Ct), m => (string?)m["status"] == "completed", Patience, Ct);

        await DeleteAsync(survivor);
        await UntilCopiedAsync(survivor, "deleted");
        foreach (var path in new[] { "", "/overview", "/timeline", "/account" })
        {
            await UntilGoneAsync($"v1/customers/{absorbed}{path}");
        }

        Assert.Equal("customer_deleted", (await Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Not the same"}""", Ct)).Code);
        var restored = await OkAsync(Api.PostAsync($"v1/recycle-bin/{survivor}/restore", "{}", Ct));
        Assert.Equal((absorbed, 2), ((string?)restored["merged_from"]![0], restored["external_ids"]!.AsArray().Count));
        await OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Not the same"}""", Ct));
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{absorbed}", Ct)).Status);
    }

    private async Task<string> PersonAsync(string tag) => (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""
        {"kind":"person","given_name":"Bin","emails":[{"address":"{{{tag}}}@example.com"}],"external_ids":[{"system":"shop","id":"{{{tag}}}"}],"attributes":{"batch":"{{{tag}}}"},"source":{"type":"enquiry"}}
        """, Ct)))["id"]!;

    private async Task DeleteAsync(string customer)
    {
        var answer = await Api.CallAsync(HttpMethod.Delete, $"v1/customers/{customer}", """{"reason":"Entered twice"}""", [("If-Match", "*")], Ct);
        Assert.True(answer.Status == HttpStatusCode.NoContent, answer.ToString());
    }

    private Task UntilGoneAsync(string path) =>
        Eventually.GetAsync(() => Api.CallAsync(path, Ct), a => (a.Status, a.Code) == (HttpStatusCode.Gone, "customer_deleted"), Patience, Ct);

    private Task<JsonNode> OrderAsync(string customer) => OkAsync(Api.PutAsync(
        $"v1/orders/by-external-id/shop/{Guid.NewGuid():n}",
        $$$"""{"customer_id":"{{{customer}}}","placed_at":"{{{DateTimeOffset.UtcNow.AddDays(-1):yyyy-MM-dd}}}T10:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}""", Ct));

    private async Task<int> MembersAsync(string batch) => (int)(await OkAsync(Api.PostAsync(
        "v1/segments", $$$"""{"name":"{{{batch}}} {{{Guid.NewGuid():n}}}","definition":{"all":[{"fact":"attributes.batch","eq":"{{{batch}}}"}]}}""", Ct)))["count"]!;

    private async Task UntilCopiedAsync(string customer, string state)
    {
        foreach (var service in Copies)
        {
            await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var copy = database.CreateCommand("SELECT state FROM customers WHERE id = $1");
                    copy.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(customer) });
                    return (string?)await copy.ExecuteScalarAsync(Ct);
                },
                found => found == state, Patience, Ct);
        }
    }
}
