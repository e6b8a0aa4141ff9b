using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;

namespace Crm.Gateway;

/// <summary>
/// <c>--smoke-test &lt;address of a gateway&gt;</c>: with the configured administrator's key one customer is created, must
/// come to all services, and is erased from them again. It needs nothing but this program, whose image has no shell.
/// </summary>
internal static class SmokeTest
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    public static async Task<int> RunAsync(WebApplication app, string address)
    {
        var clock = app.Services.GetRequiredService<TimeProvider>();
        using var limit = new CancellationTokenSource(Limit, clock);
        using var http = new HttpClient { BaseAddress = new Uri(address), Timeout = TimeSpan.FromSeconds(15) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue(
            "Bearer", app.Services.GetRequiredService<IOptions<GatewayOptions>>().Value.AdminKey?.Trim());
        var step = "create a customer";
        try
        {
            // An address that nobody has, so that nobody is suspected to be the same.
            var customer = await SendAsync(http, HttpMethod.Post, "v1/customers", new JsonObject
            {
                ["kind"] = "person",
                ["given_name"] = "Smoke",
                ["family_name"] = $"Test {Guid.NewGuid():n}",
                ["emails"] = new JsonArray(new JsonObject { ["address"] = $"{Guid.NewGuid():n}@smoke-test.invalid" }),
                ["source"] = new JsonObject { ["type"] = "enquiry" },
            }, null, limit.Token);
            var id = (string)customer.Body["id"]!;

            step = "wait until every service knows the customer";
            await UntilAsync($"v1/customers/{id}/overview", o => o.AsObject().All(part => (string?)part.Value!["status"] == "ok"));

            step = "erase the customer";
            var current = await SendAsync(http, HttpMethod.Get, $"v1/customers/{id}", null, null, limit.Token);
            var erasure = await SendAsync(http, HttpMethod.Post, $"v1/customers/{id}/erasures", new JsonObject { ["reason"] = "smoke test" }, current.ETag, limit.Token);

            step = "wait until every service has erased the customer";
            await UntilAsync($"v1/erasures/{(string)erasure.Body["id"]!}", e => (string?)e["status"] == "completed");
        }
        catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException)
        {
            await Console.Error.WriteLineAsync($"failed to {step}: {exception.Message}");
            return 1;
        }

        await Console.Out.WriteLineAsync("A customer was created, reached every service, and was erased from them.");
        return 0;

        async Task UntilAsync(string path, Func<JsonNode, bool> reached)
        {
            while (!reached((await SendAsync(http, HttpMethod.Get, path, null, null, limit.Token)).Body))
            {
                await Task.Delay(Pause, clock, limit.Token);
            }
        }
    }

    private static async Task<(JsonNode Body, EntityTagHeaderValue? ETag)> SendAsync(HttpClient http, HttpMethod method, string path, JsonObject? body, EntityTagHeaderValue? ifMatch, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
        if (ifMatch is not null)
        {
            request.Headers.IfMatch.Add(ifMatch);
        }

        using var response = await http.SendAsync(request, ct);
        var text = await response.Content.ReadAsStringAsync(ct);
        return response.IsSuccessStatusCode
            ? (JsonNode.Parse(text)!, response.Headers.ETag)
            : throw new HttpRequestException($"{method} {path} answered {(int)response.StatusCode}: {text}", null, response.StatusCode);
    }
}
