using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Crm.Contracts.Events;
using Crm.Hosting;
using MassTransit;

namespace Contracts.Tests.Events;

/// <summary>The JSON Schema (draft 2020-12) of an event as it is written; what two of them have against each other, and a message against one.</summary>
internal static class EventSchema
{
    /// <summary>As <see cref="EventJson.Options"/> write; that they also read numbers from strings is nothing to rely on.</summary>
    private static readonly JsonSerializerOptions Written = new(EventJson.Options)
    {
        NumberHandling = JsonNumberHandling.Strict,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    private static readonly JsonSchemaExporterOptions Exporter = new() { TreatNullObliviousAsNonNullable = true };

    public static JsonObject Of(EventRoute route)
    {
        var schema = new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["$id"] = MessageUrn.ForTypeString(route.Type),
            ["title"] = route.Name,
        };
        foreach (var (keyword, value) in Written.GetJsonSchemaAsNode(route.Type, Exporter).AsObject())
        {
            schema[keyword] = value?.DeepClone();
        }

        return schema;
    }

    /// <summary>
    /// What who reads by the older schema would stumble over, or who has to read messages written by it: everything but further
    /// optional properties.
    /// </summary>
    public static IEnumerable<string> Breaks(JsonObject older, JsonObject newer) => Breaks(Inline(older, older), Inline(newer, newer), "");

    /// <summary>What in a message is not as the schema says, or not said by it at all.</summary>
    public static IEnumerable<string> Problems(JsonObject schema, JsonNode? message) => Problems(Inline(schema, schema), message, "");

    private static IEnumerable<string> Breaks(JsonNode? older, JsonNode? newer, string path)
    {
        if (older is not JsonObject before || newer is not JsonObject after)
        {
            if (!JsonNode.DeepEquals(older, newer))
            {
                yield return $"{path}: was {Text(older)} and is {Text(newer)}";
            }

            yield break;
        }

        foreach (var keyword in before.Select(k => k.Key).Union(after.Select(k => k.Key)))
        {
            var (was, now) = (before[keyword], after[keyword]);
            IEnumerable<string> found = keyword switch
            {
                "properties" => (was?.AsObject() ?? new JsonObject()).SelectMany(p => now?[p.Key] is { } still ? Breaks(p.Value, still, $"{path}/{p.Key}") : [$"{path}/{p.Key} is gone"]),
                "required" => Names(now).Except(Names(was)).Select(n => $"{path}/{n} is required now").Concat(Names(was).Except(Names(now)).Select(n => $"{path}/{n} may be missing now")),
                "items" or "additionalProperties" => Breaks(was, now, $"{path}/*"),
                _ => JsonNode.DeepEquals(was, now) ? [] : [$"{path}: {keyword} was {Text(was)} and is {Text(now)}"],
            };
            foreach (var one in found)
            {
                yield return one;
            }
        }
    }

    private static IEnumerable<string> Problems(JsonNode? schema, JsonNode? value, string path)
    {
        // A schema that is just true, or none, takes anything.
        if (schema is not JsonObject rules)
        {
            yield break;
        }

        var (types, kind) = (Types(rules), Kind(value));
        if (types.Count > 0 && !types.Contains(kind) && !(kind == "integer" && types.Contains("number")))
        {
            yield return $"{path} is of type {kind}";
        }

        IEnumerable<string> below = value switch
        {
            JsonObject members => members.SelectMany(m => Member(rules, m.Key, m.Value, path))
                .Concat(Names(rules["required"]).Where(n => !members.ContainsKey(n)).Select(n => $"{path}/{n} is missing")),
            JsonArray items => items.SelectMany((item, i) => Problems(rules["items"], item, $"{path}/{i}")),
            _ => [],
        };
        foreach (var one in below)
        {
            yield return one;
        }
    }

    private static IEnumerable<string> Member(JsonObject rules, string name, JsonNode? value, string path) => rules["properties"] switch
    {
        null => Problems(rules["additionalProperties"], value, $"{path}/{name}"),
        JsonObject properties when properties.TryGetPropertyValue(name, out var known) => Problems(known, value, $"{path}/{name}"),
        _ => [$"{path}/{name} is not in the schema"],
    };

    private static List<string> Types(JsonObject rules) => rules["type"] switch
    {
        null => [],
        JsonArray several => Names(several),
        var one => [(string)one!],
    };

    private static List<string> Names(JsonNode? array) => [.. (array?.AsArray() ?? []).Select(n => (string)n!)];

    private static string Kind(JsonNode? value) => value?.GetValueKind() switch
    {
        null or JsonValueKind.Null => "null",
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.String => "string",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        _ => value!.ToJsonString().TrimStart('-').All(char.IsAsciiDigit) ? "integer" : "number",
    };

    /// <summary>The same without references: the exporter writes a type that occurs again as one.</summary>
    private static JsonNode? Inline(JsonNode? node, JsonObject root) => node switch
    {
        JsonObject reference when reference["$ref"] is JsonValue pointer => Inline(Find(root, (string)pointer!), root),
        JsonObject members => new JsonObject(members.Select(m => KeyValuePair.Create(m.Key, Inline(m.Value, root)))),
        JsonArray items => new JsonArray(items.Select(i => Inline(i, root)).ToArray()),
        _ => node?.DeepClone(),
    };

    private static JsonNode Find(JsonObject root, string pointer) =>
        pointer.Split('/').Skip(1).Aggregate((JsonNode?)root, (node, name) => node?[name]) ?? throw new InvalidOperationException($"Nothing is at {pointer}.");

    private static string Text(JsonNode? node) => node?.ToJsonString() ?? "nothing";
}
