using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Crm.Hosting.Rights;
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

    /// <summary>Extension on an object: the field group of each member that has one.</summary>
    public const string FieldGroupsExtension = "x-field-groups";

    public static void AddCrmOpenApi(this IServiceCollection services) => services.AddOpenApi("v1", openApi =>
    {
        openApi.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        openApi.CreateSchemaReferenceId = NameOf;
        openApi.AddSchemaTransformer(CompleteAsync);
        openApi.AddOperationTransformer(DescribeAsync);
    });

    /// <summary>A slice's <c>Request</c> is called after its slice.</summary>
    private static string? NameOf(JsonTypeInfo type)
    {
        var name = OpenApiOptions.CreateDefaultSchemaReferenceId(type);
        return name is not null && type.Type is { DeclaringType: { IsGenericType: false } slice, IsGenericType: false } ? slice.Name + name : name;
    }

    /// <summary>What the generator does not see: types that a converter of <see cref="JsonDefaults"/> reads, and our validation attributes.</summary>
    private static Task CompleteAsync(OpenApiSchema schema, OpenApiSchemaTransformerContext context, CancellationToken ct)
    {
        var type = Nullable.GetUnderlyingType(context.JsonTypeInfo.Type) ?? context.JsonTypeInfo.Type;
        var property = context.JsonPropertyInfo;
        var attributes = property?.AttributeProvider?.GetCustomAttributes(inherit: true) ?? [];
        var required = attributes.OfType<RequiredAttribute>().Any();
        if (type == typeof(string) || type == typeof(DateTimeOffset))
        {
            var nullable = property is null || required
                ? false
                : type == typeof(string) ? property.IsGetNullable : Nullable.GetUnderlyingType(property.PropertyType) is not null;
            schema.Type = nullable ? JsonSchemaType.String | JsonSchemaType.Null : JsonSchemaType.String;
        }
        else if (type.IsEnum && schema.Enum is { } words)
        {
            schema.Type = JsonSchemaType.String;
            schema.Enum = [.. words.Where(w => w is not null && w.GetValueKind() == JsonValueKind.String)];
        }
        else if (required)
        {
            schema.Type &= ~JsonSchemaType.Null;
        }

        // Who may not read a group of fields gets an answer without them.
        var groups = new JsonObject();
        foreach (var member in context.JsonTypeInfo.Properties)
        {
            if (FieldRules.GroupOf(member) is { } group)
            {
                groups[member.Name] = group;
                if (member.AttributeProvider?.IsDefined(typeof(RequiredAttribute), inherit: true) is not true)
                {
                    schema.Required?.Remove(member.Name);
                }
            }
        }

        if (groups.Count > 0)
        {
            schema.Extensions ??= new Dictionary<string, IOpenApiExtension>(StringComparer.Ordinal);
            schema.Extensions[FieldGroupsExtension] = new JsonNodeExtension(groups);
        }

        if (schema is { Items: null, Type: { } kind } && kind.HasFlag(JsonSchemaType.Array))
        {
            schema.Items = new OpenApiSchema { Type = JsonSchemaType.String };
        }

        foreach (var attribute in attributes)
        {
            switch (attribute)
            {
                case LineAttribute line:
                    (schema.MinLength, schema.MaxLength) = (1, line.Longest);
                    break;
                case ProseAttribute prose:
                    schema.MaxLength = prose.Longest;
                    break;
                case SlugAttribute:
                    schema.Pattern = "^[a-z0-9][a-z0-9_.-]{0,63}$";
                    break;
                case CurrencyAttribute:
                    schema.Pattern = "^[A-Z]{3}$";
                    break;
                case AtMostAttribute most when schema.Type is { } t && t.HasFlag(JsonSchemaType.Array):
                    schema.MaxItems = most.Count;
                    break;
            }
        }

        return Task.CompletedTask;
    }

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
            if (QueryParameters.Known.BeginningOf(name) is { } beginning)
            {
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = beginning.TrimEnd('.'),
                    In = ParameterLocation.Query,
                    Style = ParameterStyle.Form,
                    Explode = true,
                    Schema = new OpenApiSchema { Type = JsonSchemaType.Object, AdditionalProperties = new OpenApiSchema { Type = JsonSchemaType.String } },
                    Description = $"Parameters whose names begin with {beginning}",
                });
            }
            else if (QueryParameters.Known.RepeatedOf(name) is { } repeated)
            {
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = repeated,
                    In = ParameterLocation.Query,
                    Style = ParameterStyle.Form,
                    Explode = true,
                    Schema = new OpenApiSchema { Type = JsonSchemaType.Array, Items = SchemaOf(repeated) },
                    Description = "May come several times: all of them are asked for.",
                });
            }
            else if (!operation.Parameters.Any(p => p.Name == name && p.In == ParameterLocation.Query))
            {
                var isFlag = metadata.OfType<QueryParameters.Flag>().Any(f => f.Name == name);
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = name,
                    In = ParameterLocation.Query,
                    Schema = isFlag ? new OpenApiSchema { Type = JsonSchemaType.Boolean } : SchemaOf(name),
                    Description = DescriptionOf(name),
                });
            }
        }

        if (method is "POST" or "PATCH")
        {
            AddHeader("Idempotency-Key", "At most 255 characters; a repeated request under the same key gets the first answer, or 410 `erased` when that named somebody who was erased since.", required: false);
        }

        if (context.Description.ActionDescriptor.EndpointMetadata.OfType<IfMatchRequired>().FirstOrDefault() is { } match)
        {
            AddHeader("If-Match", $"The ETag of the version that was {(method is "DELETE" or "POST" ? "seen" : "changed")}, or *{(match.OfExisting ? "; of one that is there already" : "")}.", required: !match.OfExisting);
        }

        if (method is "GET" && context.Description.RelativePath?.EndsWith('}') is true && operation.Extensions?.ContainsKey(ScopeExtension) is true)
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
