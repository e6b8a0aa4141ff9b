using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Crm.Runner.Bench;

/// <summary>The least that Kestrel can do with the same body: read the JSON, answer 201. What a create is compared with.</summary>
internal static class BareEndpoint
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is not [var port])
            throw new RunnerException("bare-endpoint needs a port.", "");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        await using var app = builder.Build();
        app.MapPost("/v1/customers", async (HttpRequest request) =>
        {
            using var body = await JsonDocument.ParseAsync(request.Body);
            return Results.Json(new { id = "cus_0", given_name = body.RootElement.GetProperty("given_name").GetString() }, statusCode: 201);
        });
        app.MapGet("/health/ready", () => "ok");
        await app.StartAsync(ct);
        await ((IHost)app).WaitForShutdownAsync(ct);
        return 0;
    }
}
