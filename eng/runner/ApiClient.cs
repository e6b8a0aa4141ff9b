using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Crm.Runner;

/// <summary>
/// The public API as a careful partner calls it: a call that was refused for now or whose answer was lost is sent again,
/// a POST under the same Idempotency-Key.
/// </summary>
public sealed class ApiClient(HttpClient http) : IDisposable
{
    private const int Attempts = 60;
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(1);

    private static readonly MediaTypeHeaderValue MergePatch = new("application/merge-patch+json");

    /// <summary>Names as the API has them; absent values are left out.</summary>
    public static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DictionaryKeyPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    /// <summary>A client of the platform that ./crm up started here.</summary>
    public static ApiClient OfInstallation(Installation installation)
    {
        var credentials = installation.ReadCredentials();
        if (!credentials.TryGetValue("CRM_URL", out var url) || !installation.IsRunning("gateway"))
            throw new RunnerException("The platform does not run here.", "Run ./crm up first.");
        var client = new HttpClient(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false }) { BaseAddress = new Uri(url + "/") };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", credentials["CRM_PARTNER_KEY"]);
        return new ApiClient(client);
    }

    public Task<JsonElement> GetAsync(string path, CancellationToken ct) => SendAsync(HttpMethod.Get, path, null, null, ct);

    /// <summary>Null when there is no such thing (404).</summary>
    public async Task<JsonElement?> FindAsync(string path, CancellationToken ct)
    {
        try
        {
            return await GetAsync(path, ct);
        }
        catch (ApiException e) when (e.Status == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    public Task<JsonElement> PutAsync(string path, object body, CancellationToken ct) => SendAsync(HttpMethod.Put, path, body, null, ct);

    public Task<JsonElement> PostAsync(string path, object? body, string idempotencyKey, CancellationToken ct) => SendAsync(HttpMethod.Post, path, body, idempotencyKey, ct);

    /// <summary>A merge patch of whatever version is there.</summary>
    public Task<JsonElement> PatchAsync(string path, object body, CancellationToken ct) => SendAsync(HttpMethod.Patch, path, body, null, ct);

    public void Dispose() => http.Dispose();

    private async Task<JsonElement> SendAsync(HttpMethod method, string path, object? body, string? idempotencyKey, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            using var request = new HttpRequestMessage(method, new Uri(path, UriKind.RelativeOrAbsolute));
            if (body is not null)
                request.Content = JsonContent.Create(body, method == HttpMethod.Patch ? MergePatch : null, Json);
            if (method == HttpMethod.Patch)
                request.Headers.TryAddWithoutValidation("If-Match", "*");
            if (idempotencyKey is not null)
                request.Headers.Add("Idempotency-Key", idempotencyKey);
            var wait = TimeSpan.FromMilliseconds(Math.Min(50 * Math.Pow(2, Math.Min(attempt, 10)), LongestWait.TotalMilliseconds));
            try
            {
                using var response = await http.SendAsync(request, ct);
                var text = await response.Content.ReadAsStringAsync(ct);
                if (response.IsSuccessStatusCode)
                    return text.Length == 0 ? default : JsonElement.Parse(text);
                if (response.StatusCode == HttpStatusCode.PermanentRedirect && attempt < Attempts)
                {
                    // The customer was merged into another one.
                    path = response.Headers.Location!.ToString();
                    continue;
                }

                if (!MayPass(response.StatusCode, text) || attempt == Attempts)
                    throw new ApiException(method, path, response.StatusCode, text);
                wait = response.Headers.RetryAfter?.Delta ?? wait;
            }
            catch (Exception e) when (attempt < Attempts && (e is HttpRequestException || (e is TaskCanceledException && !ct.IsCancellationRequested)))
            {
                // The gateway was not there, or went away in between, or there was no answer in time.
            }

            await Task.Delay(wait, ct);
        }
    }

    private static bool MayPass(HttpStatusCode status, string problem) =>
        status is HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout
        || (status == HttpStatusCode.Conflict && problem.Contains("idempotency_in_progress", StringComparison.Ordinal));
}

/// <summary>An answer that is neither a success nor something that passes.</summary>
public sealed class ApiException(HttpMethod method, string path, HttpStatusCode status, string problem)
    : Exception($"{method} /{path} answered {(int)status}: {problem}")
{
    public HttpStatusCode Status { get; } = status;

    public string Problem { get; } = problem;

    /// <summary>Of the call, when the answer is the platform's own.</summary>
    public string? TraceId
    {
        get
        {
            try
            {
                return (string?)JsonNode.Parse(Problem)?["trace_id"];
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                return null;
            }
        }
    }
}
