using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kubernetes.Tests;

/// <summary>Kubernetes' own definitions (OpenAPI): kinds, required fields, unknown fields and types, as a server checks them.</summary>
internal sealed class KubernetesSchema
{
    private const string Prefix = "#/definitions/";

    private readonly Dictionary<string, JsonElement> _definitions;
    private readonly Dictionary<(string ApiVersion, string Kind), JsonElement> _kinds = [];

    private KubernetesSchema(JsonDocument document)
    {
        _definitions = document.RootElement.GetProperty("definitions").EnumerateObject().ToDictionary(d => d.Name, d => d.Value, StringComparer.Ordinal);
        foreach (var definition in _definitions.Values)
        {
            if (definition.TryGetProperty("x-kubernetes-group-version-kind", out var kinds))
            {
                foreach (var kind in kinds.EnumerateArray())
                {
                    var group = kind.GetProperty("group").GetString()!;
                    var version = kind.GetProperty("version").GetString()!;
                    _kinds[(group.Length == 0 ? version : $"{group}/{version}", kind.GetProperty("kind").GetString()!)] = definition;
                }
            }
        }
    }

    public static KubernetesSchema Load(string file) => new(JsonDocument.Parse(File.ReadAllBytes(file)));

    public bool Knows(JsonObject o) => _kinds.ContainsKey(((string)o["apiVersion"]!, (string)o["kind"]!));

    public IEnumerable<string> Check(JsonObject o) => Check(_kinds[((string)o["apiVersion"]!, (string)o["kind"]!)], o, $"{o["kind"]} {o["metadata"]?["name"]}");

    private IEnumerable<string> Check(JsonElement schema, JsonNode? value, string path)
    {
        if (schema.TryGetProperty("$ref", out var reference))
        {
            var name = reference.GetString()![Prefix.Length..];
            // Written as a number or a string.
            return name.EndsWith(".Quantity", StringComparison.Ordinal) || name.EndsWith(".IntOrString", StringComparison.Ordinal)
                ? value is JsonValue && value.GetValueKind() is JsonValueKind.String or JsonValueKind.Number ? [] : [$"{path} is neither a number nor a string"]
                : Check(_definitions[name], value, path);
        }

        return (schema.TryGetProperty("type", out var type) ? type.GetString() : "object") switch
        {
            "object" => CheckObject(schema, value, path),
            "array" => value is JsonArray items
                ? items.SelectMany((item, i) => Check(schema.GetProperty("items"), item, $"{path}[{i}]"))
                : [$"{path} is not a list"],
            "string" => value?.GetValueKind() == JsonValueKind.String ? [] : [$"{path} is not a string"],
            "boolean" => value?.GetValueKind() is JsonValueKind.True or JsonValueKind.False ? [] : [$"{path} is neither true nor false"],
            "integer" => value?.GetValueKind() == JsonValueKind.Number && value.AsValue().TryGetValue<long>(out _) ? [] : [$"{path} is not a whole number"],
            "number" => value?.GetValueKind() == JsonValueKind.Number ? [] : [$"{path} is not a number"],
            var other => [$"{path}: the definitions have a type '{other}' that is not known here"],
        };
    }

    private IEnumerable<string> CheckObject(JsonElement schema, JsonNode? value, string path)
    {
        if (value is not JsonObject fields)
        {
            yield return $"{path} is not an object";
            yield break;
        }

        var known = schema.TryGetProperty("properties", out var properties);
        var open = schema.TryGetProperty("additionalProperties", out var additional);
        foreach (var required in schema.TryGetProperty("required", out var names) ? names.EnumerateArray().Select(n => n.GetString()!) : [])
        {
            if (!fields.ContainsKey(required))
            {
                yield return $"{path}.{required} is missing";
            }
        }

        foreach (var (name, field) in fields)
        {
            if (known && properties.TryGetProperty(name, out var property))
            {
                foreach (var problem in Check(property, field, $"{path}.{name}"))
                {
                    yield return problem;
                }
            }
            else if (open)
            {
                foreach (var problem in Check(additional, field, $"{path}.{name}"))
                {
                    yield return problem;
                }
            }
            else if (known)
            {
                yield return $"{path}.{name} is not a field";
            }
        }
    }
}
