using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Tags over a merge, a change of their name and the undo; and in the segments of Campaigns.</summary>
public sealed class TagMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task A_merge_unites_tags_and_its_undo_gives_each_its_own_back_under_the_names_that_they_have_by_then()
    {
        var word = Guid.NewGuid().ToString("n")[..12];
        var (ada, twin) = (await NewAsync($"{word}-a", $"{word}-both"), await NewAsync($"{word}-b", $"{word}-both"));
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{ada}}"}""", Ct));
        Assert.Equal([$"{word}-a", $"{word}-both", $"{word}-b"], Texts(preview["manifest"]!["fields"]!["tags"]!["value"]));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        Assert.Equal([$"{word}-a", $"{word}-b", $"{word}-both"], await TagsAsync(ada));

        // Given and taken away since: that stays with the survivor.
        await OkAsync(Api.CallAsync(HttpMethod.Put, $"v1/customers/{ada}/tags/{word}-since", null, [], Ct));
        await OkAsync(Api.CallAsync(HttpMethod.Delete, $"v1/customers/{ada}/tags/{word}-a", null, [], Ct));
        foreach (var (from, to) in new[] { ($"{word}-b", $"{word}-c"), ($"{word}-since", $"{word}-later") })
        {
            await OkAsync(Api.PatchAsync($"v1/tags/{from}", $$"""{"name":"{{to}}"}""", "*", Ct));
            await Eventually.GetAsync(() => Api.CallAsync($"v1/tags/{to}", Ct), t => t.Body?["renaming_from"] is null, TimeSpan.FromSeconds(30), Ct);
        }

        Assert.Equal([$"{word}-both", $"{word}-c", $"{word}-later"], await TagsAsync(ada));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        Assert.Equal([$"{word}-both", $"{word}-later"], await TagsAsync(ada));
        Assert.Equal([$"{word}-both", $"{word}-c"], await TagsAsync(twin));

        // Campaigns follows the events, of the renaming too.
        foreach (var (condition, members) in new (string, string[])[]
        {
            ($$"""{"fact":"tags","contains":"{{word}}-both"}""", [ada, twin]), ($$"""{"fact":"tags","contains":"{{word}}-c"}""", [twin]), ($$"""{"fact":"tags","contains":"{{word}}-b"}""", []),
            ($$$"""{"all":[{"fact":"tags","contains":"{{{word}}}-both"},{"not":{"fact":"tags","contains":"{{{word}}}-c"}}]}""", [ada]),
        })
        {
            var segment = await OkAsync(Api.PostAsync("v1/segments", $$"""{"name":"tagged","definition":{{condition}}}""", Ct));
            await Eventually.GetAsync(
                async () => Texts((await OkAsync(Api.CallAsync($"v1/segments/{segment["id"]}/members", Ct)))["data"], "customer_id").Order(StringComparer.Ordinal).ToList(),
                found => found.SequenceEqual(members.Order(StringComparer.Ordinal)), TimeSpan.FromSeconds(30), Ct);
        }

        var overview = await OkAsync(Api.CallAsync($"v1/customers/{twin}/overview", Ct));
        Assert.Equal([$"{word}-both", $"{word}-c"], Texts(overview["customer"]!["tags"]));
    }

    private async Task<string> NewAsync(params string[] tags) => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one",
        $$$"""{"kind":"person","given_name":"Ada","tags":[{{{string.Join(',', tags.Select(t => $"\"{t}\""))}}}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private async Task<List<string?>> TagsAsync(string customer) => Texts((await OkAsync(Api.CallAsync($"v1/customers/{customer}", Ct)))["tags"]);

    private static List<string?> Texts(JsonNode? list, string? member = null) => [.. list!.AsArray().Select(t => (string?)(member is null ? t : t![member]))];
}
