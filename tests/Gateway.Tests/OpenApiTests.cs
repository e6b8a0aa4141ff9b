using System.Text.Json;
using Crm.Runner;

namespace Gateway.Tests;

public sealed class OpenApiTests(GatewayFixture gateway)
{
    [Fact]
    public async Task The_committed_document_is_served_to_everybody()
    {
        using var client = gateway.Client(null);
        using var answer = await client.GetAsync("openapi/v1.json");
        Assert.Equal("application/json", answer.Content.Headers.ContentType?.MediaType);
        Assert.Equal(await File.ReadAllTextAsync(DocumentFile), await answer.Content.ReadAsStringAsync());

        using var again = new HttpRequestMessage(HttpMethod.Get, "openapi/v1.json");
        again.Headers.IfNoneMatch.Add(answer.Headers.ETag!);
        Assert.Equal(304, (int)(await client.SendAsync(again)).StatusCode);
    }

    [Fact]
    public async Task An_independent_linter_finds_nothing_wrong()
    {
        var folder = Path.Combine(Topology.FindRoot(), "tests", "Gateway.Tests", "openapi-lint");
        if (!File.Exists(Path.Combine(folder, "node_modules", ".package-lock.json")))
        {
            var installed = await Shell.RunAsync(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], folder: folder);
            Assert.True(installed.ExitCode == 0, installed.Output);
        }

        var lint = await Shell.RunAsync([Path.Combine(folder, "node_modules", ".bin", "redocly"), "lint", "--extends=recommended", "--format=json", DocumentFile], new Dictionary<string, string?> { ["REDOCLY_TELEMETRY"] = "off" }, folder);
        var result = lint.Output[lint.Output.IndexOf('{')..(lint.Output.LastIndexOf('}') + 1)];
        var totals = JsonElement.Parse(result).GetProperty("totals");
        Assert.True(totals.GetProperty("errors").GetInt32() == 0 && totals.GetProperty("warnings").GetInt32() == 0, lint.Output);
    }

    [Fact]
    public async Task Every_operation_says_what_it_needs_and_how_it_fails()
    {
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(DocumentFile));
        var ids = new HashSet<string>();
        foreach (var path in document.RootElement.GetProperty("paths").EnumerateObject())
        {
            foreach (var operation in path.Value.EnumerateObject())
            {
                var name = $"{operation.Name} {path.Name}";
                var it = operation.Value;
                Assert.True(ids.Add(it.GetProperty("operationId").GetString()!), name);
                var responses = it.GetProperty("responses").EnumerateObject().Select(r => r.Name).ToList();
                Assert.Contains("default", responses);
                Assert.Contains("429", responses);
                Assert.Contains(responses, r => r.StartsWith('2'));
                Assert.True(path.Name.StartsWith("/problems", StringComparison.Ordinal) || it.GetProperty("security").GetArrayLength() == 1, name);
                // To be marked with a tag is all that there is to say.
                Assert.True(operation.Name is not ("patch" or "put") || path.Name.EndsWith("/tags/{tag}", StringComparison.Ordinal) || it.TryGetProperty("requestBody", out _), $"{name} has no body.");
                foreach (var parameter in it.TryGetProperty("parameters", out var parameters) ? parameters.EnumerateArray() : [])
                {
                    Assert.Matches("^([a-z0-9_]+(\\[[a-z]+\\])?|[A-Z][A-Za-z-]+)$", parameter.GetProperty("name").GetString());
                    Assert.True(parameter.GetProperty("schema").TryGetProperty("type", out _) || parameter.GetProperty("schema").TryGetProperty("$ref", out _), $"{name}: {parameter}");
                }
            }
        }

        foreach (var schema in document.RootElement.GetProperty("components").GetProperty("schemas").EnumerateObject())
        {
            foreach (var property in schema.Value.TryGetProperty("properties", out var properties) ? properties.EnumerateObject() : default)
            {
                Assert.Matches("^[a-z][a-z0-9_]*$", property.Name);
                // A number is a number, never text as well.
                var type = property.Value.TryGetProperty("type", out var t) ? t.ToString() : "";
                Assert.False(type.Contains("integer", StringComparison.Ordinal) && type.Contains("string", StringComparison.Ordinal), $"{schema.Name}.{property.Name}");
            }
        }
    }

    internal static string DocumentFile => Path.Combine(Topology.FindRoot(), "gateway", "openapi", "v1.json");
}
