using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Gateway.Proxy;
using Microsoft.AspNetCore.OpenApi;

namespace Crm.Gateway.OpenApi;

/// <summary>
/// <c>--openapi [file]</c>: asks the running services for their documents, merges them with the gateway's
/// own, and writes the result to the file or to standard output. <c>eng/openapi.sh</c> makes <c>gateway/openapi/v1.json</c> so.
/// </summary>
internal static class OpenApiCommand
{
    private static readonly JsonSerializerOptions Layout = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static async Task<int> RunAsync(WebApplication app, string[] arguments)
    {
        var services = ServiceAddresses.ServicesOf(app.Configuration).Order(StringComparer.Ordinal);
        var documents = new List<(string, JsonObject)>();
        using var http = new HttpClient();
        foreach (var service in services)
        {
            var address = app.Configuration[$"Services:{service}"] ?? throw new InvalidOperationException($"Services:{service} is not configured.");
            var text = await http.GetStringAsync(new Uri(new Uri(address), "/openapi/v1.json"));
            documents.Add((service, JsonNode.Parse(text)!.AsObject()));
        }

        documents.Add(("Gateway", await OwnAsync(app)));
        var merged = OpenApiMerge.Merge(documents).ToJsonString(Layout) + "\n";
        if (arguments is [var file])
        {
            await File.WriteAllTextAsync(file, merged);
        }
        else
        {
            await Console.Out.WriteAsync(merged);
        }

        return 0;
    }

    private static async Task<JsonObject> OwnAsync(WebApplication app)
    {
        // The endpoints are known to the generator only when the pipeline is built.
        app.UseEndpoints(_ => { });
        var document = await app.Services.GetRequiredKeyedService<IOpenApiDocumentProvider>("v1").GetOpenApiDocumentAsync();
        using var text = new StringWriter();
        document.SerializeAsV31(new Microsoft.OpenApi.OpenApiJsonWriter(text));
        return JsonNode.Parse(text.ToString())!.AsObject();
    }
}
