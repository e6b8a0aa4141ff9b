using System.Text.Json;

namespace Crm.Runner.Rollouts;

/// <summary>Somebody who looks: lists, searches, customers with their timelines and overviews.</summary>
internal sealed class ReadLoad(HttpClient client, EveryCall calls)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Parts of an overview that came too late for it: the machine is busy, or a service just started.</summary>
    public int LateParts { get; private set; }

    public async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                var list = await GetAsync("v1/customers?limit=5", stop);
                foreach (var customer in list.ValueKind == JsonValueKind.Object ? list.GetProperty("data").EnumerateArray().Select(c => c.GetProperty("id").GetString()).ToList() : [])
                {
                    await GetAsync($"v1/customers/{customer}", stop);
                    await GetAsync($"v1/customers/{customer}/timeline?limit=10", stop);
                    Judge(await GetAsync($"v1/customers/{customer}/overview", stop));
                    await Task.Delay(Pause, stop);
                }

                await GetAsync("v1/customers?q=P1&limit=5", stop);
                await Task.Delay(Pause, stop);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (HttpRequestException)
            {
                // It is counted.
                await Task.Delay(Pause, CancellationToken.None);
            }
        }
    }

    private void Judge(JsonElement overview)
    {
        if (overview.ValueKind != JsonValueKind.Object)
            return;
        foreach (var part in overview.EnumerateObject().Where(p => p.Value.GetProperty("status").GetString() == "unavailable"))
        {
            var reason = part.Value.GetProperty("reason").GetString();
            if (reason == "timeout")
                LateParts++;
            else if (reason != "not_found")
                calls.Fail($"An overview lacks {part.Name}: {reason}");
        }
    }

    private async Task<JsonElement> GetAsync(string path, CancellationToken ct)
    {
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative), ct);
        var text = await response.Content.ReadAsStringAsync(ct);
        // 308: it was merged meanwhile. What is worse than 499 is counted already.
        if ((int)response.StatusCode is >= 400 and < 500)
            calls.Fail($"GET /{path} answered {(int)response.StatusCode}: {text}");
        return response.IsSuccessStatusCode ? JsonElement.Parse(text) : default;
    }
}
