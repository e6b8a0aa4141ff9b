using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Xunit;

namespace Crm.Testing;

/// <summary>An answer of the API, read.</summary>
public sealed record JsonAnswer(HttpStatusCode Status, JsonNode? Body, HttpResponseHeaders Headers)
{
    public JsonNode? this[string member] => Body?[member];

    public string? ETag => Headers.ETag?.Tag;

    /// <summary>The problem's code, null on success.</summary>
    public string? Code => (int)Status >= 400 ? (string?)Body?["code"] : null;

    /// <summary>The problem's errors, as <c>pointer code</c>.</summary>
    public IReadOnlyList<string> Errors => [.. (Body?["errors"]?.AsArray() ?? []).Select(e => $"{e!["pointer"]} {e["code"]}")];

    public IReadOnlyList<JsonNode> Data => [.. Body!["data"]!.AsArray().Select(e => e!)];

    public override string ToString() => $"{(int)Status} {Body?.ToJsonString()}";
}

public static class JsonCalls
{
    /// <summary>What a call answered that has to succeed.</summary>
    public static async Task<JsonNode> OkAsync(Task<JsonAnswer> call)
    {
        var answer = await call;
        Assert.True((int)answer.Status < 300, answer.ToString());
        return answer.Body!;
    }

    public static Task<JsonAnswer> CallAsync(this HttpClient client, string path, CancellationToken ct = default) => client.CallAsync(HttpMethod.Get, path, ct: ct);

    public static Task<JsonAnswer> PostAsync(this HttpClient client, string path, string json, CancellationToken ct = default) => client.CallAsync(HttpMethod.Post, path, json, ct: ct);

    public static Task<JsonAnswer> PutAsync(this HttpClient client, string path, string json, CancellationToken ct = default) => client.CallAsync(HttpMethod.Put, path, json, ct: ct);

    /// <summary>A merge patch of the version that the tag names.</summary>
    public static Task<JsonAnswer> PatchAsync(this HttpClient client, string path, string json, string? ifMatch, CancellationToken ct = default) =>
        client.CallAsync(HttpMethod.Patch, path, json, ifMatch is null ? [] : [("If-Match", ifMatch)], ct);

    public static async Task<JsonAnswer> CallAsync(
        this HttpClient client, HttpMethod method, string path, string? json = null, IEnumerable<(string Name, string Value)>? headers = null, CancellationToken ct = default)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
        {
            request.Content = new StringContent(json, Encoding.UTF8, method == HttpMethod.Patch ? "application/merge-patch+json" : "application/json");
        }

        foreach (var (name, value) in headers ?? [])
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var response = await client.SendAsync(request, ct);
        var text = await response.Content.ReadAsStringAsync(ct);
        return new(response.StatusCode, text.Length == 0 ? null : JsonNode.Parse(text), response.Headers);
    }
}
