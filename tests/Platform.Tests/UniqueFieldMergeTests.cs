using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Values of a unique field over merges and their undo.</summary>
public sealed class UniqueFieldMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task A_survivor_keeps_one_value_or_takes_one_over_and_the_undo_gives_each_its_own_unless_somebody_has_it_by_then()
    {
        var name = $"u{Guid.NewGuid().ToString("n")[..12]}";
        var field = await OkAsync(Api.PostAsync("v1/custom-fields", $$"""{"name":"{{name}}","label":"L","type":"text","unique":true}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/custom-fields/{field["id"]}", Ct), f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
        var (ada, twin, bare) = (await NewAsync(name, "a"), await NewAsync(name, "b"), await NewAsync(name, null));

        // Both have one: the survivor keeps its own, and the other is free.
        var first = await MergeAsync(ada, twin);
        Assert.Equal("a", await ValueAsync(name, ada));
        var third = await NewAsync(name, "b");
        Assert.Equal([$"{twin} attributes.{name}"], (await UndoAsync(first))["not_given_back"]!.AsArray().Select(f => $"{f!["customer_id"]} {f["field"]}"));
        Assert.Equal(("a", null, "b"), (await ValueAsync(name, ada), await ValueAsync(name, twin), await ValueAsync(name, third)));

        // Of whom the survivor takes it over, whichever was made first, and back.
        foreach (var (survivor, absorbed) in new[] { (bare, ada), (twin, third) })
        {
            var value = await ValueAsync(name, absorbed);
            var merge = await MergeAsync(survivor, absorbed);
            Assert.Equal(value, await ValueAsync(name, survivor));
            Assert.Equal("value_taken", (await CreateAsync(name, value)).Code);
            await UndoAsync(merge);
            Assert.Equal((null, value), (await ValueAsync(name, survivor), await ValueAsync(name, absorbed)));
            Assert.Equal("value_taken", (await CreateAsync(name, value)).Code);
        }

        // One that was chosen from the other.
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$$"""{"customer_ids":["{{{third}}}"],"survivor_id":"{{{ada}}}","choices":{"attributes.{{{name}}}":"{{{third}}}"}}""", Ct));
        var chosen = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        Assert.Equal("b", await ValueAsync(name, ada));
        await UndoAsync((string)chosen["id"]!);
        Assert.Equal(("a", "b"), (await ValueAsync(name, ada), await ValueAsync(name, third)));
    }

    [Fact]
    public async Task The_value_of_an_absorbed_customer_leads_to_the_survivor_who_keeps_its_own()
    {
        var name = $"u{Guid.NewGuid().ToString("n")[..12]}";
        var field = await OkAsync(Api.PostAsync("v1/custom-fields", $$"""{"name":"{{name}}","label":"L","type":"text","indexed":true,"unique":true}""", Ct));
        await Eventually.GetAsync(
            () => Api.CallAsync($"v1/custom-fields/{field["id"]}", Ct), f => (string?)f["uniqueness"] == "ready" && (string?)f["index"] == "ready", TimeSpan.FromMinutes(1), Ct);
        var (ada, twin) = (await NewAsync(name, "a"), await NewAsync(name, "b"));
        var merge = await MergeAsync(ada, twin);

        var upserted = await OkAsync(Api.PutAsync($"v1/customers/by-attribute?name={name}", $$$"""{"locale":"en-GB","attributes":{"{{{name}}}":"b"}}""", Ct));
        Assert.Equal(("updated", ada, "en-GB", "a"), ((string?)upserted["result"], (string?)upserted["id"], (string?)upserted["locale"], await ValueAsync(name, ada)));
        foreach (var value in new[] { "a", "b" })
        {
            Assert.Equal([ada], (await Api.CallAsync($"v1/customers?attributes.{name}={value}", Ct)).Data.Select(c => (string?)c["id"]));
        }

        using var rows = new StringContent($"kind,locale,attributes.{name}\nperson,fr-FR,b\n", System.Text.Encoding.UTF8, "text/csv");
        using var accepted = await Api.PostAsync($"v1/imports?match_on=attributes.{name}", rows, Ct);
        var import = await Eventually.GetAsync(() => Api.CallAsync(accepted.Headers.Location!.ToString(), Ct), i => (string?)i["status"] == "completed", ct: Ct);
        Assert.Equal((0, 1, 0), ((int)import["created"]!, (int)import["updated"]!, (int)import["failed"]!));
        Assert.Equal(("fr-FR", "a"), ((string?)(await OkAsync(Api.CallAsync($"v1/customers/{ada}", Ct)))["locale"], await ValueAsync(name, ada)));

        Assert.Empty((await UndoAsync(merge))["not_given_back"]!.AsArray());
        Assert.Equal(("a", "b"), (await ValueAsync(name, ada), await ValueAsync(name, twin)));
        Assert.Equal([twin], (await Api.CallAsync($"v1/customers?attributes.{name}=b", Ct)).Data.Select(c => (string?)c["id"]));
    }

    [Fact]
    public async Task An_external_id_that_somebody_else_has_by_the_undo_is_listed_as_not_given_back()
    {
        var (name, id) = ($"u{Guid.NewGuid().ToString("n")[..12]}", Guid.NewGuid().ToString("n"));
        var (ada, twin) = (await NewAsync(name, null), await NewAsync(name, null));
        await OkAsync(Api.PatchAsync($"v1/customers/{twin}", $$"""{"external_ids":[{"system":"shop","id":"{{id}}"}]}""", "*", Ct));
        var merge = await MergeAsync(ada, twin);
        await OkAsync(Api.PatchAsync($"v1/customers/{ada}", """{"external_ids":[]}""", "*", Ct));
        var third = await NewAsync(name, null);
        await OkAsync(Api.PatchAsync($"v1/customers/{third}", $$"""{"external_ids":[{"system":"shop","id":"{{id}}"}]}""", "*", Ct));

        Assert.Equal([$"{twin} external_ids"], (await UndoAsync(merge))["not_given_back"]!.AsArray().Select(f => $"{f!["customer_id"]} {f["field"]}"));
        Assert.Empty((await OkAsync(Api.CallAsync($"v1/customers/{twin}", Ct)))["external_ids"]!.AsArray());
    }

    private Task<JsonAnswer> CreateAsync(string name, string? value) => Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one",
        $$$"""{"kind":"person","given_name":"Ada","attributes":{{{(value is null ? "{}" : $$"""{"{{name}}":"{{value}}"}""")}}},"source":{"type":"enquiry"}}""", Ct);

    private async Task<string> NewAsync(string name, string? value) => (string)(await OkAsync(CreateAsync(name, value)))["id"]!;

    private async Task<string?> ValueAsync(string name, string customer) => (string?)(await OkAsync(Api.CallAsync($"v1/customers/{customer}", Ct)))["attributes"]![name];

    private async Task<string> MergeAsync(string survivor, string absorbed) => (string)(await Api.MergeAsync(survivor, absorbed, Ct))["id"]!;

    private Task<JsonNode> UndoAsync(string merge) => Api.UndoAsync(merge, Ct);
}
