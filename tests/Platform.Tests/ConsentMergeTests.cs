using System.Text.Json.Nodes;
using Crm.Testing;

namespace Platform.Tests;

/// <summary>Pauses of consents over a merge and its undo.</summary>
public sealed class ConsentPauseMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task Of_two_pauses_the_longer_one_holds_after_a_merge_and_each_has_its_own_again_after_the_undo()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var (soon, late) = (DateTime.UtcNow.Date.AddDays(10), DateTime.UtcNow.Date.AddDays(40));
        await SayAsync(survivor, "granted");
        await SayAsync(survivor, "paused", soon);
        await SayAsync(twin, "granted");
        await SayAsync(twin, "paused", late);

        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        Assert.Equal($"granted {late:yyyy-MM-dd}T00:00:00Z", await CurrentAsync(survivor));
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        Assert.Equal($"granted {soon:yyyy-MM-dd}T00:00:00Z", await CurrentAsync(survivor));
        Assert.Equal($"granted {late:yyyy-MM-dd}T00:00:00Z", await CurrentAsync(twin));
    }

    private async Task<string> NewAsync(string name) => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"person","given_name":"{{{name}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> SayAsync(string customer, string state, DateTime? until = null) => OkAsync(Api.PostAsync(
        $"v1/customers/{customer}/consents",
        new JsonObject { ["channel"] = "email", ["purpose"] = "marketing", ["state"] = state, ["source"] = "call", ["paused_until"] = until?.ToString("O") }.ToJsonString(), Ct));

    private async Task<string> CurrentAsync(string customer)
    {
        var current = (await OkAsync(Api.CallAsync($"v1/customers/{customer}/consents", Ct)))["current"]![0]!;
        return $"{current["state"]} {current["paused_until"]}";
    }

    private static async Task<JsonNode> OkAsync(Task<JsonAnswer> call)
    {
        var answer = await call;
        Assert.True((int)answer.Status < 300, answer.ToString());
        return answer.Body!;
    }
}
