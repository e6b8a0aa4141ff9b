using System.Text.Json.Nodes;
using Crm.Testing;

namespace Platform.Tests;

/// <summary>Relationships over a merge of one end, or of both, and its undo.</summary>
public sealed class RelationshipMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task Relationships_follow_a_merge_and_come_back_and_one_between_the_merged_is_hidden_meanwhile()
    {
        var (maker, twin, head, shop) = (await FirmAsync("Maker"), await FirmAsync("Maker Ltd"), await FirmAsync("Head"), await FirmAsync("Shop"));
        await RelateAsync(twin, "branch", head);
        await RelateAsync(shop, "retail_outlet", twin);
        await RelateAsync(twin, "supplier", maker);
        var before = (Maker: await EdgesAsync(maker), Twin: await EdgesAsync(twin));
        Assert.Equal(3, before.Twin.Count);

        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{maker}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same firm"}""", Ct));
        Assert.Equal(
            new[] { $"branch {maker} {head}", $"retail_outlet {shop} {maker}" }, await EdgesAsync(maker));
        Assert.Equal(["Head", "Maker"], await TreeAsync(maker));
        var later = await RelateAsync(maker, "distributor", shop);

        var undone = await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two firms"}""", Ct));
        Assert.Equal(before.Twin, await EdgesAsync(twin));
        Assert.Equal([$"distributor {maker} {shop}", .. before.Maker], await EdgesAsync(maker));
        Assert.Equal(["Head", "Maker Ltd"], await TreeAsync(twin));
        var stayed = (await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{undone["id"]}", Ct), m => (string?)m["status"] == "undone", Patience, Ct))["stayed"]!.AsArray();
        var own = Assert.Single(stayed, s => (string?)s!["service"] == "contacts")!;
        Assert.Equal(("relationship", (string?)later["id"]), ((string?)own["rows"]![0]!["type"], (string?)own["rows"]![0]!["id"]));
    }

    [Fact]
    public async Task A_circle_that_a_merge_closes_is_shown_cut_and_opens_again_with_the_undo()
    {
        var (top, middle, bottom) = (await FirmAsync("Top"), await FirmAsync("Middle"), await FirmAsync("Bottom"));
        await RelateAsync(middle, "branch", top);
        await RelateAsync(bottom, "branch", middle);
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{bottom}}"],"survivor_id":"{{top}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same firm"}""", Ct));
        Assert.Equal(["Top", "Middle"], await TreeAsync(top));
        Assert.Equal(["Middle", "Top"], await TreeAsync(middle));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two firms"}""", Ct));
        Assert.Equal(["Top", "Middle", "Bottom"], await TreeAsync(bottom));
    }

    private async Task<string> FirmAsync(string name) =>
        (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"organization","name":"{{{name}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> RelateAsync(string from, string type, string to) =>
        OkAsync(Api.PostAsync($"v1/customers/{from}/relationships", $$"""{"type":"{{type}}","to_id":"{{to}}"}""", Ct));

    private async Task<List<string>> EdgesAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/relationships?customer_id={customer}", Ct)))["data"]!.AsArray()
            .Select(r => $"{r!["type"]} {r["from"]!["id"]} {r["to"]!["id"]}").Order(StringComparer.Ordinal)];

    private async Task<List<string?>> TreeAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/customers/{customer}/hierarchy", Ct)))["data"]!.AsArray().Select(m => (string?)m!["display_name"])];

    private static async Task<JsonNode> OkAsync(Task<JsonAnswer> call)
    {
        var answer = await call;
        Assert.True((int)answer.Status < 300, answer.ToString());
        return answer.Body!;
    }
}
