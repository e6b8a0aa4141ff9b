using System.Text.Json.Nodes;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;

namespace Crm.Hosting.Web;

/// <summary>
/// What the endpoints' metadata says, as OpenAPI: the scope, the query parameters, the headers of the
/// conventions. Problems, security and rate limits are the gateway's to add: it merges the documents.
/// </summary>
public static class OpenApiDefaults
{
    /// <summary>Extension on an operation: the scope that it needs.</summary>
    public const string ScopeExtension = "x-required-scope";

    public static void AddCrmOpenApi(this IServiceCollection services) => services.AddOpenApi("v1", openApi =>
    {
        openApi.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        openApi.AddOperationTransformer(DescribeAsync);
    });

    private static Task DescribeAsync(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken ct)
    {
        var metadata = context.Description.ActionDescriptor.EndpointMetadata;
        var method = context.Description.HttpMethod;
        if (metadata.OfType<ScopeMetadata>().LastOrDefault() is { } scope)
        {
            operation.Extensions ??= new Dictionary<string, IOpenApiExtension>(StringComparer.Ordinal);
            operation.Extensions[ScopeExtension] = new JsonNodeExtension(JsonValue.Create(scope.Scope));
        }

        operation.Parameters ??= [];
        foreach (var name in metadata.OfType<QueryParameters.Known>().SelectMany(k => k.Names))
        {
            if (!operation.Parameters.Any(p => p.Name == name && p.In == ParameterLocation.Query))
            {
                operation.Parameters.Add(new OpenApiParameter { Name = name, In = ParameterLocation.Query, Schema = SchemaOf(name), Description = DescriptionOf(name) });
            }
        }

        if (method is "POST" or "PATCH")
        {
            AddHeader("Idempotency-Key", "At most 255 characters; a repeated request under the same key gets the first answer.", required: false);
        }

        if (method is "PATCH")
        {
            AddHeader("If-Match", "The ETag of the version that was changed.", required: false);
        }

        if (method is "GET" && context.Description.ParameterDescriptions.Any(p => p.Source.Id == "Path"))
        {
            AddHeader("If-None-Match", "The ETag of the version at hand; 304 when it is still the present one.", required: false);
        }

        return Task.CompletedTask;

        void AddHeader(string name, string description, bool required)
        {
            if (!operation.Parameters.Any(p => p.Name == name))
            {
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = name,
                    In = ParameterLocation.Header,
                    Required = required,
                    Description = description,
                    Schema = new OpenApiSchema { Type = JsonSchemaType.String },
                });
            }
        }
    }

    private static OpenApiSchema SchemaOf(string parameter) => parameter switch
    {
        "limit" => new() { Type = JsonSchemaType.Integer, Minimum = "1", Maximum = "100", Default = JsonValue.Create(25) },
        "allow_duplicate" => new() { Type = JsonSchemaType.Boolean },
        _ when parameter.Contains("_at[", StringComparison.Ordinal) => new() { Type = JsonSchemaType.String, Format = "date-time" },
        _ => new() { Type = JsonSchemaType.String },
    };

    private static string? DescriptionOf(string parameter) => parameter switch
    {
        "limit" => "Entries a page.",
        "cursor" => "The next_cursor of the page before.",
        "starting_after" => "Entries after (older than) this id.",
        "ending_before" => "Entries before (newer than) this id.",
        _ => null,
    };
}
