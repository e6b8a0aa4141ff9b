using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.Contacts.Features.Merges;

/// <summary>The values of a manifest, as the caller may see them.</summary>
internal static class ManifestFields
{
    public static IReadOnlyDictionary<string, FieldOrigin> Shown(this IReadOnlyDictionary<string, FieldOrigin> fields)
    {
        var shown = FieldRules.Show<CustomerInput>(new(fields.Select(f => KeyValuePair.Create(f.Key, (JsonNode?)f.Value.Value.DeepClone()))));
        return fields.Where(f => shown.ContainsKey(f.Key)).ToDictionary(f => f.Key, f => f.Value with { Value = shown[f.Key]!.DeepClone() }, StringComparer.Ordinal);
    }

    /// <summary>The same of one that was stored.</summary>
    public static JsonElement Shown(JsonElement manifest)
    {
        if (CallerRights.Current.AllFields)
        {
            return manifest;
        }

        var whole = JsonSerializer.SerializeToNode(manifest)!.AsObject();
        whole["fields"] = JsonSerializer.SerializeToNode(whole["fields"].Deserialize<Dictionary<string, FieldOrigin>>(JsonDefaults.Options)!.Shown(), JsonDefaults.Options);
        return JsonSerializer.SerializeToElement(whole);
    }
}
