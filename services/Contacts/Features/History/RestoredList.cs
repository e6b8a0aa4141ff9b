using System.Globalization;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain.Merges;

namespace Crm.Contacts.Features.History;

/// <summary>
/// A list without what a change did to it: entries that it added go, those that it took away or changed are again as they
/// were, by what identifies them (<see cref="FieldJson.KeyOf"/>). The others stay as they are now.
/// </summary>
internal static class RestoredList
{
    /// <param name="old">Before the change.</param>
    /// <param name="changed">After it.</param>
    public static JsonArray Of(string list, JsonArray old, JsonArray changed, JsonArray present)
    {
        var (was, became, now) = (Keyed(list, old), Keyed(list, changed), Keyed(list, present));
        var touched = was.Concat(became).Select(e => e.Key).Where(k => !JsonNode.DeepEquals(Plain(Find(was, k)), Plain(Find(became, k)))).ToHashSet(StringComparer.Ordinal);
        var primary = PrimaryOf(was) is { } first && first != PrimaryOf(became) ? first : PrimaryOf(now);
        var restored = now.Where(e => !touched.Contains(e.Key)).ToList();
        for (var i = 0; i < was.Count; i++)
        {
            if (touched.Contains(was[i].Key))
            {
                // Behind the nearest one that was before it and is there.
                var before = was.Take(i).Select(e => e.Key).ToHashSet(StringComparer.Ordinal);
                restored.Insert(restored.FindLastIndex(e => before.Contains(e.Key)) + 1, was[i]);
            }
        }

        if (touched.Count == 0 && !was.Select(e => e.Key).SequenceEqual(became.Select(e => e.Key), StringComparer.Ordinal))
        {
            // Nothing but their order was changed.
            restored = [.. restored.OrderBy(e => was.FindIndex(w => w.Key == e.Key) is >= 0 and var place ? place : was.Count)];
        }

        return new([.. restored.Select(e =>
        {
            var entry = e.Entry.DeepClone();
            FieldJson.SetPrimary(entry, e.Key == primary);
            return entry;
        })]);
    }

    /// <summary>Two with the same key, such as one address for two purposes, are told apart by their order.</summary>
    private static List<(string Key, JsonNode Entry)> Keyed(string list, JsonArray entries)
    {
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        return [.. entries.Select(e =>
        {
            var key = FieldJson.KeyOf(list, e!);
            var place = seen[key] = seen.GetValueOrDefault(key) + 1;
            return (string.Create(CultureInfo.InvariantCulture, $"{place} {key}"), e!);
        })];
    }

    private static JsonNode? Find(List<(string Key, JsonNode Entry)> entries, string key) => entries.Find(e => e.Key == key).Entry;

    private static string? PrimaryOf(List<(string Key, JsonNode Entry)> entries) => entries.Find(e => FieldJson.IsPrimary(e.Entry)).Key;

    private static JsonNode? Plain(JsonNode? entry)
    {
        var plain = entry?.DeepClone();
        if (plain is not null)
        {
            FieldJson.SetPrimary(plain, false);
        }

        return plain;
    }
}
