using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Relationships and account managers over a merge of one end, or of both, and its undo.</summary>
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
        var circle = Assert.Single(preview["manifest"]!["circles"]!.AsArray())!;
        Assert.Equal((bottom, top, 10), ((string?)circle["customer_id"], (string?)circle["belongs_to_id"], ((string)circle["starts_on"]!).Length));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same firm"}""", Ct));
        Assert.Equal(["Top", "Middle"], await TreeAsync(top));
        Assert.Equal(["Middle", "Top"], await TreeAsync(middle));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two firms"}""", Ct));
        Assert.Equal(["Top", "Middle", "Bottom"], await TreeAsync(bottom));
    }

    [Fact]
    public async Task A_preview_tells_of_circles_to_come_and_of_none_where_links_hold_at_different_times_or_only_between_the_merged()
    {
        var (top, middle, bottom, side) = (await FirmAsync("Roof"), await FirmAsync("Floor"), await FirmAsync("Cellar"), await FirmAsync("Shed"));
        await RelateAsync(middle, "subsidiary", top, ""","ends_on":"2998-12-31" """);
        await RelateAsync(bottom, "branch", middle, ""","starts_on":"2999-01-01" """);
        Assert.Empty(await CirclesAsync(top, bottom));
        // All three are one then: nothing lies between them.
        Assert.Empty(await CirclesAsync(top, middle, bottom));
        await RelateAsync(middle, "subsidiary", side, ""","starts_on":"2999-02-01" """);
        Assert.Equal([$"{bottom} {side} 2999-02-01"], await CirclesAsync(side, bottom));
        Assert.Equal([$"{bottom} {side} 2999-02-01"], await CirclesAsync(bottom, side, top));
        Assert.Empty(await CirclesAsync(side, middle));

        async Task<List<string>> CirclesAsync(string survivor, params string[] absorbed) =>
            [.. (await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{string.Join("\",\"", absorbed)}}"],"survivor_id":"{{survivor}}"}""", Ct)))
                ["manifest"]!["circles"]!.AsArray().Select(c => $"{c!["customer_id"]} {c["belongs_to_id"]} {c["starts_on"]}")];
    }

    [Fact]
    public async Task Of_what_a_customer_has_one_at_a_time_the_survivors_own_is_shown_and_the_undo_gives_each_its_own_with_nothing_ended()
    {
        var (maker, twin, head, other) = (await FirmAsync("Anvil"), await FirmAsync("Anvil Works"), await FirmAsync("Summit"), await FirmAsync("Rival"));
        await RelateAsync(maker, "subsidiary", head);
        await RelateAsync(twin, "subsidiary", other);
        await RelateAsync(maker, "supplier", other);
        await RelateAsync(twin, "supplier", other);
        await RelateAsync(twin, "vendor", other);
        var (hers, his, later) = ($"m{Guid.NewGuid():n}", $"m{Guid.NewGuid():n}", $"m{Guid.NewGuid():n}");
        await AssignAsync(maker, hers);
        await AssignAsync(twin, his);

        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{maker}}"}""", Ct));
        var rows = preview["manifest"]!["services"]!.AsArray().Single(s => (string?)s!["service"] == "contacts")!["rows"]!.AsArray()
            .ToDictionary(r => (string)r!["table"]!, r => ((int)r!["moved"]!, (int)r["collide"]!));
        Assert.Equal(((3, 2), (1, 1)), (rows["relationships"], rows["account_managers"]));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same firm"}""", Ct));
        Assert.Equal(
            new[] { $"subsidiary {maker} {head}", $"supplier {maker} {other}", $"vendor {maker} {other}" }.Order(StringComparer.Ordinal), await EdgesAsync(maker));
        Assert.Equal(["Summit", "Anvil"], await TreeAsync(maker));
        Assert.Equal((maker, null), (await BookAsync(hers), await BookAsync(his)));
        Assert.Equal([$"{hers} open"], await ManagersAsync(maker));

        await AssignAsync(maker, later);
        Assert.Equal((null, null, maker), (await BookAsync(hers), await BookAsync(his), await BookAsync(later)));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two firms"}""", Ct));
        Assert.Equal([$"{later} open", $"{hers} ended"], await ManagersAsync(maker));
        Assert.Equal([$"{his} open"], await ManagersAsync(twin));
        Assert.Equal((twin, maker), (await BookAsync(his), await BookAsync(later)));
        Assert.Equal(["Summit", "Anvil"], await TreeAsync(maker));
        Assert.Equal(["Rival", "Anvil Works"], await TreeAsync(twin));
        Assert.Equal(
            new[] { $"subsidiary {twin} {other}", $"supplier {twin} {other}", $"vendor {twin} {other}" }.Order(StringComparer.Ordinal), await EdgesAsync(twin));
    }

    private Task<JsonNode> AssignAsync(string customer, string manager) =>
        OkAsync(Api.PutAsync($"v1/customers/{customer}/account-manager", $$"""{"manager":"{{manager}}"}""", Ct));

    private async Task<string?> BookAsync(string manager) =>
        (string?)(await OkAsync(Api.CallAsync($"v1/book-of-business?manager={manager}", Ct)))["data"]!.AsArray().SingleOrDefault()?["customer_id"];

    private async Task<List<string>> ManagersAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/customers/{customer}/account-managers", Ct)))["data"]!.AsArray().Select(m => $"{m!["manager"]} {(m["ends_at"] is null ? "open" : "ended")}")];

    private async Task<string> FirmAsync(string name) =>
        (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"organization","name":"{{{name}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> RelateAsync(string from, string type, string to, string days = "") =>
        OkAsync(Api.PostAsync($"v1/customers/{from}/relationships", $$"""{"type":"{{type}}","to_id":"{{to}}"{{days}}}""", Ct));

    private async Task<List<string>> EdgesAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/relationships?customer_id={customer}", Ct)))["data"]!.AsArray()
            .Select(r => $"{r!["type"]} {r["from"]!["id"]} {r["to"]!["id"]}").Order(StringComparer.Ordinal)];

    private async Task<List<string?>> TreeAsync(string customer) =>
        [.. (await OkAsync(Api.CallAsync($"v1/customers/{customer}/hierarchy", Ct)))["data"]!.AsArray().Select(m => (string?)m!["display_name"])];
}
