using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Merges and their undos, as a caller asks for them.</summary>
internal static class MergeCalls
{
    /// <summary>By a preview; the merge as it is answered.</summary>
    public static async Task<JsonNode> MergeAsync(this HttpClient api, string survivor, string absorbed, CancellationToken ct)
    {
        var preview = await OkAsync(api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{survivor}}","{{absorbed}}"],"survivor_id":"{{survivor}}"}""", ct));
        return await OkAsync(api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", ct));
    }

    public static Task<JsonNode> UndoAsync(this HttpClient api, string merge, CancellationToken ct) =>
        OkAsync(api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", ct));

    /// <summary>The merge, once it has this status.</summary>
    public static async Task<JsonNode> WaitForMergeAsync(this HttpClient api, string merge, string status, CancellationToken ct) =>
        (await Eventually.GetAsync(() => api.CallAsync($"v1/merges/{merge}", ct), m => (string?)m["status"] == status, TimeSpan.FromMinutes(1), ct)).Body!;
}
