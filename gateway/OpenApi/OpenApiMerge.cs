using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Gateway.OpenApi;

/// <summary>
/// One document of what every service says of itself, and what the gateway adds to every operation:
/// authentication, limits and problems. The same input gives the same bytes.
/// </summary>
internal static class OpenApiMerge
{
    private const string SchemaPrefix = "#/components/schemas/";
    private static readonly string[] Methods = ["get", "put", "post", "delete", "patch"];

    private static readonly Dictionary<string, string> TagDescriptions = new(StringComparer.Ordinal)
    {
        ["campaigns"] = "One message to the members of a segment, and what became of it.",
        ["cases"] = "Questions, problems and complaints of customers.",
        ["consents"] = "What a customer allows, by channel and purpose.",
        ["customers"] = "Persons and organizations: the only source of their identity.",
        ["duplicates"] = "Pairs of customers who may be one: the review queue, and what was decided.",
        ["interactions"] = "Meetings, calls, letters and messages with a customer.",
        ["invoices"] = "Invoices, upserted by the id of the system that issues them.",
        ["keys"] = "API keys: made, listed and revoked by administrators.",
        ["orders"] = "Orders, upserted by the id of the system that takes them.",
        ["payments"] = "Payments, upserted by the id of the system that receives them.",
        ["problems"] = "The error catalogue: where the type of every problem leads.",
        ["products"] = "What can be sold.",
        ["segments"] = "Sets of customers described by facts.",
    };

    public static JsonObject Merge(IReadOnlyList<(string Service, JsonObject Document)> documents)
    {
        RenameConflicts(documents);
        var paths = new SortedDictionary<string, JsonObject>(StringComparer.Ordinal);
        var schemas = new SortedDictionary<string, JsonNode>(StringComparer.Ordinal);
        foreach (var (service, document) in documents)
        {
            foreach (var (path, item) in document["paths"]!.AsObject())
            {
                AddPath(service, path, item!.AsObject(), paths);
            }

            foreach (var (name, schema) in SchemasOf(document))
            {
                schemas[name] = schema!.DeepClone();
            }
        }

        foreach (var (name, schema) in ProblemSchemas())
        {
            schemas[name] = schema!.DeepClone();
        }

        var requests = Reachable(paths.Values.SelectMany(Operations).Select(o => o["requestBody"]), schemas);
        var used = Reachable(paths.Values.Cast<JsonNode?>().Append(Responses()), schemas);
        foreach (var name in schemas.Keys.Where(n => !used.Contains(n)).ToList())
        {
            schemas.Remove(name);
        }

        // What is only ever answered may gain fields: clients must not refuse those they do not know.
        foreach (var (_, schema) in schemas.Where(s => !requests.Contains(s.Key)))
        {
            Open(schema);
        }

        foreach (var (_, schema) in schemas.Where(s => requests.Contains(s.Key)))
        {
            RequireValues(schema.AsObject());
        }

        var tags = paths.Values.SelectMany(Operations).SelectMany(o => o["tags"]!.AsArray()).Select(t => t!.GetValue<string>()).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);
        return new JsonObject
        {
            ["openapi"] = "3.1.1",
            ["info"] = new JsonObject
            {
                ["title"] = "Crm.Platform",
                ["version"] = "v1",
                ["description"] = "The public API of a customer relationship platform. Ids are opaque, instants are RFC 3339 in UTC, money is minor units and an ISO 4217 code. "
                    + "Errors are problems (RFC 9457) whose type leads to the catalogue at /problems. A request with an unknown field or parameter is refused.",
                ["license"] = new JsonObject { ["name"] = "MIT", ["identifier"] = "MIT" },
            },
            ["servers"] = new JsonArray(new JsonObject { ["url"] = "/", ["description"] = "The gateway that serves this document." }),
            ["security"] = new JsonArray(new JsonObject { ["bearer"] = new JsonArray() }),
            ["tags"] = new JsonArray([.. tags.Select(t => new JsonObject { ["name"] = t, ["description"] = TagDescriptions.GetValueOrDefault(t, $"Operations on {t}.") })]),
            ["paths"] = new JsonObject(paths.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
            ["components"] = new JsonObject
            {
                ["schemas"] = new JsonObject(schemas.Select(s => KeyValuePair.Create(s.Key, (JsonNode?)s.Value))),
                ["responses"] = Responses(),
                ["headers"] = Headers(),
                ["securitySchemes"] = new JsonObject
                {
                    ["bearer"] = new JsonObject
                    {
                        ["type"] = "http",
                        ["scheme"] = "bearer",
                        ["description"] = "An API key (sk_live_ and 43 characters), or an access token of a configured OpenID Connect provider. The names beside an operation are the scopes that it needs.",
                    },
                },
            },
        };
    }

    private static void AddPath(string service, string path, JsonObject item, SortedDictionary<string, JsonObject> paths)
    {
        var renamed = SnakeCaseParameters(path);
        if (!paths.TryGetValue(renamed, out var target))
        {
            paths.Add(renamed, target = []);
        }

        foreach (var method in Methods)
        {
            if (item[method]?.DeepClone().AsObject() is not { } operation)
            {
                continue;
            }

            if (target.ContainsKey(method))
            {
                throw new InvalidOperationException($"{method} {renamed} of {service} is there twice.");
            }

            target[method] = Complete(method, renamed, operation);
        }
    }

    private static JsonObject Complete(string method, string path, JsonObject source)
    {
        var id = source["operationId"]?.GetValue<string>() ?? throw new InvalidOperationException($"{method} {path} has no name: WithName.");
        var scope = source[OpenApiDefaults.ScopeExtension]?.GetValue<string>();
        var parameters = source["parameters"]?.AsArray() ?? [];
        foreach (var parameter in parameters.Where(p => p!["in"]!.GetValue<string>() == "path"))
        {
            parameter!["name"] = JsonNamingPolicy.SnakeCaseLower.ConvertName(parameter["name"]!.GetValue<string>());
        }

        var operation = new JsonObject
        {
            ["tags"] = new JsonArray(path.Split('/', StringSplitOptions.RemoveEmptyEntries).SkipWhile(p => p == "v1").First()),
            ["operationId"] = id,
            ["summary"] = source["summary"]?.DeepClone() ?? Sentence(id),
        };
        if (source["tags"] is JsonArray { Count: > 0 } tags && TagDescriptions.ContainsKey(tags[0]!.GetValue<string>()))
        {
            operation["tags"] = tags.DeepClone();
        }

        var description = string.Join("\n\n", new[] { source["description"]?.GetValue<string>(), scope is null ? null : $"Needs the scope `{scope}`." }.Where(d => d is not null));
        if (description.Length > 0)
        {
            operation["description"] = description;
        }

        operation["security"] = scope is null ? [] : new JsonArray(new JsonObject { ["bearer"] = new JsonArray(scope) });
        if (parameters.Count > 0)
        {
            operation["parameters"] = parameters.DeepClone();
        }

        if (source["requestBody"] is { } body)
        {
            operation["requestBody"] = body.DeepClone();
        }

        var responses = new SortedDictionary<string, JsonNode>(StringComparer.Ordinal);
        foreach (var (status, response) in source["responses"]?.AsObject() ?? [])
        {
            var answer = response!.DeepClone().AsObject();
            if (status.StartsWith('2'))
            {
                var headers = new JsonObject { ["Crm-Trace-Id"] = HeaderRef("Crm-Trace-Id"), ["RateLimit"] = HeaderRef("RateLimit"), ["RateLimit-Policy"] = HeaderRef("RateLimit-Policy") };
                foreach (var (name, header) in answer["headers"]?.AsObject() ?? [])
                {
                    headers[name] = header!.DeepClone();
                }

                answer["headers"] = headers;
            }

            responses[status] = answer;
        }

        foreach (var status in Problems(method, path, operation, scope is not null))
        {
            responses.TryAdd(status, new JsonObject { ["$ref"] = status == "304" ? "#/components/responses/NotModified" : status == "429" ? "#/components/responses/RateLimited" : "#/components/responses/Problem" });
        }

        operation["responses"] = new JsonObject(responses.Select(r => KeyValuePair.Create(r.Key, (JsonNode?)r.Value)));
        return operation;
    }

    private static IEnumerable<string> Problems(string method, string path, JsonObject operation, bool secured)
    {
        var headers = (operation["parameters"]?.AsArray() ?? []).Where(p => p!["in"]!.GetValue<string>() == "header").Select(p => p!["name"]!.GetValue<string>()).ToList();
        yield return "default";
        yield return "429";
        if (secured)
        {
            yield return "400";
            yield return "401";
            yield return "403";
        }

        if (path.Contains('{', StringComparison.Ordinal))
        {
            yield return "404";
        }

        if (headers.Contains("If-None-Match"))
        {
            yield return "304";
        }

        if (operation.ContainsKey("requestBody"))
        {
            yield return "413";
            yield return "415";
        }

        if (method is "post" or "patch" or "put")
        {
            yield return "409";
            yield return "422";
        }

        if (headers.Contains("If-Match"))
        {
            yield return "412";
            yield return "428";
        }
    }

    /// <summary>A name that means different things in two services gets the service's name in front; the same meaning is written once.</summary>
    private static void RenameConflicts(IReadOnlyList<(string Service, JsonObject Document)> documents)
    {
        var conflicts = new HashSet<string>(StringComparer.Ordinal);
        bool grown;
        do
        {
            grown = false;
            foreach (var group in documents.SelectMany(d => SchemasOf(d.Document)).GroupBy(s => s.Key, s => s.Value, StringComparer.Ordinal))
            {
                // A schema that refers to a conflicting one will differ too.
                var differs = group.Select(s => s!.ToJsonString()).Distinct(StringComparer.Ordinal).Count() > 1
                    || (group.Count() > 1 && group.SelectMany(Refs).Any(conflicts.Contains));
                grown |= differs && conflicts.Add(group.Key);
            }
        }
        while (grown);

        foreach (var (service, document) in documents)
        {
            var prefix = string.Concat(service.Split('-').Select(w => char.ToUpperInvariant(w[0]) + w[1..]));
            var own = SchemasOf(document).Select(s => s.Key).Where(conflicts.Contains).ToList();
            foreach (var name in own)
            {
                var schemas = document["components"]!["schemas"]!.AsObject();
                var schema = schemas[name]!.DeepClone();
                schemas.Remove(name);
                schemas[prefix + name] = schema;
            }

            Rewrite(document, own.ToDictionary(n => SchemaPrefix + n, n => SchemaPrefix + prefix + n, StringComparer.Ordinal));
        }
    }

    private static void Rewrite(JsonNode? node, Dictionary<string, string> references)
    {
        switch (node)
        {
            case JsonObject map:
                foreach (var (name, value) in map.ToList())
                {
                    if (value is JsonValue text && text.TryGetValue<string>(out var target) && references.TryGetValue(target, out var renamed))
                    {
                        map[name] = renamed;
                    }
                    else
                    {
                        Rewrite(value, references);
                    }
                }

                break;
            case JsonArray list:
                foreach (var entry in list)
                {
                    Rewrite(entry, references);
                }

                break;
        }
    }

    /// <summary>Names of the schemas that a node names, its parts too.</summary>
    private static IEnumerable<string> Refs(JsonNode? node) => node switch
    {
        JsonObject map => map.SelectMany(m => m.Value is JsonValue v && v.TryGetValue<string>(out var text) && text.StartsWith(SchemaPrefix, StringComparison.Ordinal)
            ? [text[SchemaPrefix.Length..]]
            : Refs(m.Value)),
        JsonArray list => list.SelectMany(Refs),
        _ => [],
    };

    private static HashSet<string> Reachable(IEnumerable<JsonNode?> roots, SortedDictionary<string, JsonNode> schemas)
    {
        var found = new HashSet<string>(StringComparer.Ordinal);
        var open = new Queue<string>(roots.SelectMany(Refs));
        while (open.TryDequeue(out var name))
        {
            if (found.Add(name) && schemas.TryGetValue(name, out var schema))
            {
                foreach (var next in Refs(schema))
                {
                    open.Enqueue(next);
                }
            }
        }

        return found;
    }

    private static void Open(JsonNode? node)
    {
        if (node is JsonObject map)
        {
            if (map["additionalProperties"] is JsonValue value && value.TryGetValue<bool>(out var allowed) && !allowed)
            {
                map.Remove("additionalProperties");
            }

            foreach (var (_, inner) in map)
            {
                Open(inner);
            }
        }
        else if (node is JsonArray list)
        {
            foreach (var entry in list)
            {
                Open(entry);
            }
        }
    }

    /// <summary>A required field of a body cannot be null; the generator says it may, where the type has a name.</summary>
    private static void RequireValues(JsonObject schema)
    {
        foreach (var name in schema["required"]?.AsArray().Select(r => r!.GetValue<string>()) ?? [])
        {
            if (schema["properties"]?[name] is JsonObject { Count: 1 } property && property["oneOf"] is JsonArray choices
                && choices.Select(c => c!.AsObject()).Where(c => c["type"]?.ToString() != "null").ToList() is [var only])
            {
                schema["properties"]![name] = only.DeepClone();
            }
        }
    }

    private static IEnumerable<JsonObject> Operations(JsonObject item) => Methods.Select(m => item[m]?.AsObject()).OfType<JsonObject>();

    private static JsonObject SchemasOf(JsonObject document) => document["components"]?["schemas"]?.AsObject() ?? [];

    /// <summary>readCustomerOverview as "Read customer overview".</summary>
    private static string Sentence(string operationId)
    {
        var words = JsonNamingPolicy.SnakeCaseLower.ConvertName(operationId).Replace('_', ' ');
        return char.ToUpperInvariant(words[0]) + words[1..];
    }

    private static string SnakeCaseParameters(string path) => string.Join('/', path.Split('/').Select(p =>
        p.StartsWith('{') ? $"{{{JsonNamingPolicy.SnakeCaseLower.ConvertName(p[1..^1])}}}" : p));

    private static JsonObject HeaderRef(string name) => new() { ["$ref"] = $"#/components/headers/{name}" };

    private static JsonObject Headers() => new()
    {
        ["Crm-Trace-Id"] = Header("The trace of this request (W3C trace id); name it when you ask for help.", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ["RateLimit"] = Header("What is left of the policy's quota (r) and the seconds until its window ends (t); draft-ietf-httpapi-ratelimit-headers-08.", "\"default\";r=482;t=31"),
        ["RateLimit-Policy"] = Header("The quota (q) and the window in seconds (w) of the policy.", "\"default\";q=600;w=60"),
        ["Retry-After"] = new JsonObject() { ["description"] = "Seconds to wait.", ["schema"] = new JsonObject { ["type"] = "integer" } },
    };

    private static JsonObject Header(string description, string example) => new()
    {
        ["description"] = description,
        ["schema"] = new JsonObject { ["type"] = "string", ["examples"] = new JsonArray(example) },
    };

    private static JsonObject Responses()
    {
        return new()
        {
            ["NotModified"] = new JsonObject { ["description"] = "The version at hand is still the present one." },
            ["Problem"] = Problem("What is wrong, as RFC 9457 problem details."),
            ["RateLimited"] = Problem("The quota is used up.", "RateLimit", "RateLimit-Policy", "Retry-After"),
        };

        static JsonObject Problem(string description, params string[] headers)
        {
            var map = new JsonObject { ["Crm-Trace-Id"] = HeaderRef("Crm-Trace-Id") };
            foreach (var header in headers)
            {
                map[header] = HeaderRef(header);
            }

            return new()
            {
                ["description"] = description,
                ["headers"] = map,
                ["content"] = new JsonObject { ["application/problem+json"] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = SchemaPrefix + "Problem" } } },
            };
        }
    }

    private static JsonObject ProblemSchemas() => new()
    {
        ["FieldError"] = JsonNode.Parse("""
            {
              "type": "object",
              "required": ["pointer", "code"],
              "properties": {
                "pointer": { "type": "string", "description": "JSON Pointer into the body, or the name of the parameter or header." },
                "code": { "type": "string", "description": "Stable machine word." },
                "detail": { "type": "string" }
              }
            }
            """),
        ["Problem"] = new JsonObject
        {
            ["type"] = "object",
            ["required"] = new JsonArray("type", "title", "status", "code", "errors", "retryable"),
            ["properties"] = new JsonObject
            {
                ["type"] = new JsonObject { ["type"] = "string", ["format"] = "uri-reference", ["description"] = "Leads to the catalogue." },
                ["title"] = new JsonObject { ["type"] = "string" },
                ["status"] = new JsonObject { ["type"] = "integer" },
                ["code"] = new JsonObject
                {
                    ["type"] = "string",
                    ["description"] = $"Stable machine word; known are {string.Join(", ", ProblemCodes.All.Select(c => c.Code))}.",
                },
                ["detail"] = new JsonObject { ["type"] = "string" },
                ["instance"] = new JsonObject { ["type"] = "string", ["format"] = "uri-reference" },
                ["errors"] = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["$ref"] = SchemaPrefix + "FieldError" } },
                ["trace_id"] = new JsonObject { ["type"] = "string" },
                ["retryable"] = new JsonObject { ["type"] = "boolean", ["description"] = "Whether the same request may succeed later." },
            },
        },
    };
}
