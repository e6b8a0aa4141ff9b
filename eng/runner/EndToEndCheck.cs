using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner;

/// <summary>One customer through the whole platform: gateway, service, database, broker, all copies, and back over gRPC.</summary>
public static class EndToEndCheck
{
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];
    private static readonly string[] Parts = ["customer", "interactions", "campaigns", "billing", "support"];

    /// <summary>Whatever does not hold, as sentences.</summary>
    public static async Task<IReadOnlyList<string>> RunAsync(Platform platform, CancellationToken ct = default)
    {
        using var client = platform.CreateClient();
        var trace = Guid.NewGuid().ToString("n");
        using var created = await CreateAsync(client, trace, ct);
        var text = await created.Content.ReadAsStringAsync(ct);
        if (created.StatusCode != HttpStatusCode.Created)
            return [$"POST /v1/customers answered {(int)created.StatusCode}: {text}"];

        var problems = new List<string>();
        if (!created.Headers.TryGetValues("Crm-Trace-Id", out var ids) || ids.Single() != trace)
            problems.Add("The answer does not carry the trace of the call.");
        var id = JsonElement.Parse(text).GetProperty("id").GetString()!;
        foreach (var service in Copies)
        {
            if (!await IsThereAsync(platform, service, trace, ct))
                problems.Add($"The customer did not come to {service} in 30 s.");
        }

        problems.AddRange(await AskForOverviewAsync(client, id, ct));
        return problems;
    }

    /// <summary>Of a platform that has just started the first call may be too slow for the gateway: it is sent again, as a client would, under its key.</summary>
    private static async Task<HttpResponseMessage> CreateAsync(HttpClient client, string trace, CancellationToken ct)
    {
        for (var start = Stopwatch.GetTimestamp(); ; await Task.Delay(500, ct))
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "v1/customers") { Content = JsonContent.Create(new { kind = "person", given_name = "End", family_name = trace, source = new { type = "enquiry" } }) };
            request.Headers.Add("traceparent", $"00-{trace}-{trace[..16]}-01");
            request.Headers.Add("Idempotency-Key", trace);
            var answer = await client.SendAsync(request, ct);
            if (answer.IsSuccessStatusCode || Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(60))
                return answer;
            var problem = JsonElement.Parse(await answer.Content.ReadAsStringAsync(ct));
            if (!problem.TryGetProperty("retryable", out var retryable) || !retryable.GetBoolean())
                return answer;
            answer.Dispose();
        }
    }

    /// <summary>Of a platform that has just started the first may be late, so it is asked for until all have answered.</summary>
    private static async Task<IReadOnlyList<string>> AskForOverviewAsync(HttpClient client, string id, CancellationToken ct)
    {
        for (var start = Stopwatch.GetTimestamp(); ; await Task.Delay(200, ct))
        {
            using var answer = await client.GetAsync($"v1/customers/{id}/overview", ct);
            var overview = await answer.Content.ReadAsStringAsync(ct);
            IReadOnlyList<string> problems = answer.IsSuccessStatusCode
                ? [.. Parts.Where(p => JsonElement.Parse(overview).GetProperty(p).GetProperty("status").GetString() != "ok").Select(p => $"The overview lacks {p}: {overview}")]
                : [$"The overview answered {(int)answer.StatusCode}: {overview}"];
            if (problems.Count == 0 || Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(30))
                return problems;
        }
    }

    private static async Task<bool> IsThereAsync(Platform platform, string service, string familyName, CancellationToken ct)
    {
        await using var database = new NpgsqlConnection(await platform.ConnectionStringAsync(service));
        await database.OpenAsync(ct);
        for (var start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(30); await Task.Delay(50, ct))
        {
            await using var command = new NpgsqlCommand("SELECT 1 FROM customers WHERE family_name = $1", database) { Parameters = { new() { Value = familyName } } };
            if (await command.ExecuteScalarAsync(ct) is not null)
                return true;
        }

        return false;
    }
}
