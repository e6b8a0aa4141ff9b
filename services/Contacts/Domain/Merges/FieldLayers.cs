using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Merges;

/// <summary>
/// Where the fields of a customer who has absorbed others come from: its own as they were, and since then merges and
/// edits in their order. The fields are the fold of the layers, so a merge is undone, in whatever order, by leaving its
/// layer out and folding again: what was edited since stays, and what came from the others goes.
/// </summary>
internal sealed record FieldLayers(CustomerInput Base, IReadOnlyList<FieldLayer> Changes)
{
    /// <summary>Those whom the active merges have absorbed.</summary>
    public IEnumerable<Guid> Members => Changes.SelectMany(c => c.Merge?.Order ?? []);

    public FieldLayers Add(MergeLayer merge) => this with { Changes = [.. Changes, new FieldLayer(merge, null)] };

    /// <summary>Edits without a merge between them are one layer, so that there are never many.</summary>
    public FieldLayers Add(EditLayer edit) => Changes is [.., { Edit: { } last }]
        ? this with { Changes = [.. Changes.SkipLast(1), new FieldLayer(null, last.Then(edit))] }
        : this with { Changes = [.. Changes, new FieldLayer(null, edit)] };

    /// <summary>Null when no merge is left: then the fields are all there is.</summary>
    public FieldLayers? Without(Guid mergeId)
    {
        var changes = Changes.Where(c => c.Merge?.MergeId != mergeId).ToList();
        return changes.Exists(c => c.Merge is not null) ? this with { Changes = changes } : null;
    }

    /// <summary>The fields, without the layer of <paramref name="without"/>.</summary>
    /// <param name="self">Whose fields they are.</param>
    /// <param name="members">All whom it has absorbed directly.</param>
    public CustomerInput Fold(Guid self, IReadOnlyDictionary<Guid, Customer> members, Guid? without = null)
    {
        var fields = FieldJson.Of(Base);
        var ids = new HashSet<Guid> { self };
        foreach (var change in Changes)
        {
            if (change.Edit is { } edit)
            {
                edit.ApplyTo(fields);
            }
            else if (change.Merge!.MergeId != without)
            {
                // Whom a later merge absorbs is somebody else until then.
                ids.UnionWith(change.Merge.Order.SelectMany(m => members[m].AllIds()));
                change.Merge.ApplyTo(fields, id => members[id].ToInput(), ids);
            }
        }

        return FieldJson.ToInput(fields);
    }

    /// <summary>The same with a tag under another name, or without it.</summary>
    public FieldLayers Retag(string from, string? to) => new(
        Base with { Tags = Base.Tags is null ? null : Tag.Replaced(Base.Tags, from, to) },
        [.. Changes.Select(c => c.Edit is { } edit ? c with { Edit = edit.Retag(from, to) } : c)]);

    /// <summary>What was edited after a merge.</summary>
    public IEnumerable<EditLayer> EditsSince(Guid mergeId) =>
        Changes.SkipWhile(c => c.Merge?.MergeId != mergeId).Select(c => c.Edit).OfType<EditLayer>();
}

/// <summary>One of the two.</summary>
internal sealed record FieldLayer(MergeLayer? Merge, EditLayer? Edit);

/// <summary>
/// What a merge adds. A single field is the chosen member's, else the survivor's, else that of the first member in order
/// who has one. Of contact points, external ids, tags and attributes it is the union, the survivor's first. A source whose
/// referrer is one of them is passed over, since nobody refers themselves; where all are such, the first one stays without it.
/// </summary>
/// <param name="Order">The absorbed ones, the one to be preferred first.</param>
/// <param name="Chosen">By field: whose value it is; for contact points whose primary one is the primary.</param>
internal sealed record MergeLayer(Guid MergeId, DateTimeOffset At, IReadOnlyList<Guid> Order, IReadOnlyDictionary<string, Guid> Chosen)
{
    /// <param name="own">The own fields of a member.</param>
    /// <param name="ids">All that stand for the customer afterwards.</param>
    /// <returns>Whether the source that comes first was passed over, or lost its referrer.</returns>
    public bool ApplyTo(JsonObject fields, Func<Guid, CustomerInput> own, IReadOnlySet<Guid> ids, Action<string, Guid>? takenFrom = null)
    {
        var members = Order.ToDictionary(m => m, m => FieldJson.Of(own(m)));
        var selfReferral = false;
        foreach (var name in FieldJson.Singles)
        {
            Guid? chosen = Chosen.TryGetValue(name, out var id) && members.ContainsKey(id) ? id : null;
            // What was chosen, the survivor's own, which has no member here, and what the others have in their order.
            var candidates = Order.Select(m => (Guid?)m).Prepend(null).OrderBy(m => m != chosen)
                .Select(m => (Member: m, Value: m is { } other ? members[other][name] : fields[name]))
                .Where(c => c.Value is not null).ToList();
            if (candidates.Count == 0)
            {
                continue;
            }

            var fit = candidates.FindIndex(c => !FieldJson.IsReferredBy(ids, name, c.Value!));
            var (member, value) = candidates[Math.Max(fit, 0)];
            fields[name] = value!.DeepClone();
            if (fit < 0)
            {
                fields[name]![FieldJson.Referrer] = null;
            }

            selfReferral |= fit != 0;
            if (member is { } source)
            {
                takenFrom?.Invoke(name, source);
            }
        }

        foreach (var name in FieldJson.Lists)
        {
            var list = fields[name]!.AsArray();
            var have = list.Select(e => FieldJson.KeyOf(name, e!)).ToHashSet(StringComparer.Ordinal);
            foreach (var id in Order)
            {
                foreach (var entry in members[id][name]!.AsArray())
                {
                    if (have.Add(FieldJson.KeyOf(name, entry!)))
                    {
                        var added = entry!.DeepClone();
                        FieldJson.SetPrimary(added, false);
                        list.Add(added);
                        takenFrom?.Invoke(name, id);
                    }
                }
            }

            if (Chosen.TryGetValue(name, out var whose) && members.TryGetValue(whose, out var preferred))
            {
                FieldJson.MakePrimary(name, list, FieldJson.PrimaryOf(name, preferred));
            }
        }

        var attributes = fields[FieldJson.Attributes]!.AsObject();
        foreach (var id in Order)
        {
            foreach (var (name, value) in members[id][FieldJson.Attributes]!.AsObject())
            {
                if (!attributes.ContainsKey(name) || (Chosen.TryGetValue($"{FieldJson.Attributes}.{name}", out var whose) && whose == id))
                {
                    attributes[name] = value?.DeepClone();
                    takenFrom?.Invoke($"{FieldJson.Attributes}.{name}", id);
                }
            }
        }

        return selfReferral;
    }
}

/// <summary>What an edit changed, so that it can be applied again to other fields than it was made on.</summary>
/// <param name="At">Of the last one.</param>
/// <param name="Set">Single fields; null clears.</param>
/// <param name="Lists">By list.</param>
/// <param name="Attributes">Null takes the attribute away.</param>
internal sealed record EditLayer(
    DateTimeOffset At, IReadOnlyDictionary<string, JsonNode?> Set, IReadOnlyDictionary<string, ListEdit> Lists, IReadOnlyDictionary<string, JsonNode?> Attributes)
{
    /// <summary>Names of the fields that were edited.</summary>
    public IEnumerable<string> Fields => [.. Set.Keys, .. Lists.Keys, .. Attributes.Keys.Select(a => $"{FieldJson.Attributes}.{a}")];

    public static EditLayer Between(CustomerInput before, CustomerInput after, DateTimeOffset at)
    {
        var (a, b) = (FieldJson.Of(before), FieldJson.Of(after));
        var set = FieldJson.Singles.Prepend(FieldJson.Kind).Where(f => !JsonNode.DeepEquals(a[f], b[f])).ToDictionary(f => f, f => b[f]?.DeepClone());
        var lists = FieldJson.Lists.Select(f => (Name: f, Edit: ListEdit.Between(f, a[f]!.AsArray(), b[f]!.AsArray())))
            .Where(l => l.Edit is not null).ToDictionary(l => l.Name, l => l.Edit!);
        var (had, has) = (a[FieldJson.Attributes]!.AsObject(), b[FieldJson.Attributes]!.AsObject());
        var attributes = had.Select(p => p.Key).Union(has.Select(p => p.Key))
            .Where(n => !had.ContainsKey(n) || !has.ContainsKey(n) || !JsonNode.DeepEquals(had[n], has[n]))
            .ToDictionary(n => n, n => has[n]?.DeepClone());
        return new(at, set, lists, attributes);
    }

    public void ApplyTo(JsonObject fields)
    {
        foreach (var (name, value) in Set)
        {
            fields[name] = value?.DeepClone();
        }

        foreach (var (name, edit) in Lists)
        {
            edit.ApplyTo(name, fields[name]!.AsArray());
        }

        var attributes = fields[FieldJson.Attributes]!.AsObject();
        foreach (var (name, value) in Attributes)
        {
            if (value is null)
            {
                attributes.Remove(name);
            }
            else
            {
                attributes[name] = value.DeepClone();
            }
        }
    }

    /// <summary>This edit and a later one as one.</summary>
    public EditLayer Then(EditLayer later) => new(later.At, Over(Set, later.Set), Lists.Keys.Union(later.Lists.Keys).ToDictionary(l => l, l =>
        !Lists.TryGetValue(l, out var first) ? later.Lists[l] : !later.Lists.TryGetValue(l, out var second) ? first : first.Then(second)), Over(Attributes, later.Attributes));

    public EditLayer Retag(string from, string? to) => !Lists.TryGetValue(FieldJson.Tags, out var tags) ? this : this with
    {
        Lists = new Dictionary<string, ListEdit>(Lists, StringComparer.Ordinal) { [FieldJson.Tags] = tags.Retag(from, to) },
    };

    private static Dictionary<string, JsonNode?> Over(IReadOnlyDictionary<string, JsonNode?> first, IReadOnlyDictionary<string, JsonNode?> second)
    {
        var both = first.ToDictionary(p => p.Key, p => p.Value?.DeepClone());
        foreach (var (name, value) in second)
        {
            both[name] = value?.DeepClone();
        }

        return both;
    }
}

/// <summary>What an edit changed in a list, by the keys of its entries.</summary>
/// <param name="Put">New and changed entries.</param>
/// <param name="Primary">The key of the entry that became primary.</param>
internal sealed record ListEdit(IReadOnlyDictionary<string, JsonNode> Put, IReadOnlyList<string> Removed, string? Primary)
{
    public static ListEdit? Between(string list, JsonArray before, JsonArray after)
    {
        var had = ByKey(list, before);
        var has = ByKey(list, after);
        var put = has.Where(e => !had.TryGetValue(e.Key, out var was) || !JsonNode.DeepEquals(Plain(was), Plain(e.Value))).ToDictionary(e => e.Key, e => Plain(e.Value));
        var removed = had.Keys.Where(k => !has.ContainsKey(k)).ToList();
        var (primaryWas, primary) = (FieldJson.PrimaryOf(list, before), FieldJson.PrimaryOf(list, after));
        return put.Count + removed.Count == 0 && primaryWas == primary ? null : new(put, removed, primaryWas == primary ? null : primary);
    }

    public void ApplyTo(string name, JsonArray list)
    {
        for (var i = list.Count - 1; i >= 0; i--)
        {
            var key = FieldJson.KeyOf(name, list[i]!);
            if (Removed.Contains(key, StringComparer.Ordinal))
            {
                list.RemoveAt(i);
            }
            else if (Put.TryGetValue(key, out var changed))
            {
                var entry = changed.DeepClone();
                FieldJson.SetPrimary(entry, FieldJson.IsPrimary(list[i]!));
                list[i] = entry;
            }
        }

        var have = list.Select(e => FieldJson.KeyOf(name, e!)).ToHashSet(StringComparer.Ordinal);
        foreach (var entry in Put.Where(p => !have.Contains(p.Key)).Select(p => p.Value.DeepClone()))
        {
            FieldJson.SetPrimary(entry, false);
            list.Add(entry);
        }

        FieldJson.MakePrimary(name, list, Primary);
    }

    public ListEdit Then(ListEdit later) => new(
        Put.Where(p => !later.Removed.Contains(p.Key, StringComparer.Ordinal) && !later.Put.ContainsKey(p.Key)).Concat(later.Put).ToDictionary(p => p.Key, p => p.Value.DeepClone()),
        [.. Removed.Where(r => !later.Put.ContainsKey(r)).Union(later.Removed, StringComparer.Ordinal)],
        later.Primary ?? (Primary is { } primary && later.Removed.Contains(primary, StringComparer.Ordinal) ? null : Primary));

    /// <summary>Of tags, which are their own keys.</summary>
    public ListEdit Retag(string from, string? to) => this with
    {
        Put = Tag.Replaced(Put.Keys, from, to).ToDictionary(t => t, t => (JsonNode)JsonValue.Create(t)),
        Removed = Tag.Replaced(Removed, from, to),
    };

    private static Dictionary<string, JsonNode> ByKey(string list, JsonArray entries) =>
        entries.GroupBy(e => FieldJson.KeyOf(list, e!), StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.First()!, StringComparer.Ordinal);

    private static JsonNode Plain(JsonNode entry)
    {
        var plain = entry.DeepClone();
        FieldJson.SetPrimary(plain, false);
        return plain;
    }
}

/// <summary>The fields by their names of the API, and what identifies an entry of a list.</summary>
internal static class FieldJson
{
    /// <summary>Never taken from another one by a merge, but an edit may change it.</summary>
    public const string Kind = "kind";

    public const string Attributes = "attributes";
    public const string Tags = "tags";
    public const string Source = "source";

    /// <summary>Of a source.</summary>
    public const string Referrer = "referrer_id";

    public static readonly IReadOnlyList<string> Singles =
        ["given_name", "family_name", "name", "birth_date", "locale", "time_zone", "lifecycle", Source, "department", "tier"];

    public static readonly IReadOnlyList<string> Lists = ["emails", "phones", "addresses", "external_ids", Tags];

    public static JsonObject Of(CustomerInput input) => JsonSerializer.SerializeToNode(input.Normalized(), JsonDefaults.Options)!.AsObject();

    public static CustomerInput ToInput(JsonObject fields) => fields.Deserialize<CustomerInput>(JsonDefaults.Options)!.Normalized();

    /// <summary>Two entries with the same key are the same address, number or id.</summary>
    public static string KeyOf(string list, JsonNode entry) => list switch
    {
        "emails" => ((string)entry["address"]!).ToLowerInvariant(),
        "phones" => (string)entry["number"]!,
        "external_ids" => $"{entry["system"]} {entry["id"]}",
        Tags => (string)entry!,
        _ => string.Join('|', new[]
        {
            string.Join(' ', (entry["lines"]?.AsArray() ?? []).Select(l => (string?)l)), (string?)entry["city"], (string?)entry["region"], (string?)entry["postal_code"], (string?)entry["country"],
        }.Select(part => TextFolding.Fold(part ?? ""))),
    };

    /// <summary>Whether it is a source, and the referrer one of these.</summary>
    public static bool IsReferredBy(IReadOnlySet<Guid> ids, string field, JsonNode value) =>
        field == Source && Ids.Customer.TryParse((string?)value[Referrer], out var referrer) && ids.Contains(referrer);

    public static string? PrimaryOf(string list, JsonObject fields) => PrimaryOf(list, fields[list]!.AsArray());

    public static string? PrimaryOf(string list, JsonArray entries) => entries.FirstOrDefault(e => IsPrimary(e!)) is { } primary ? KeyOf(list, primary) : null;

    public static bool IsPrimary(JsonNode entry) => entry is JsonObject && entry["primary"] is JsonValue value && value.TryGetValue(out bool primary) && primary;

    public static void SetPrimary(JsonNode entry, bool primary)
    {
        if (entry is JsonObject members && members.ContainsKey("primary"))
        {
            entry["primary"] = primary;
        }
    }

    /// <summary>Nothing happens when no entry has the key.</summary>
    public static void MakePrimary(string list, JsonArray entries, string? key)
    {
        if (key is not null && entries.Any(e => KeyOf(list, e!) == key))
        {
            foreach (var entry in entries)
            {
                SetPrimary(entry!, KeyOf(list, entry!) == key);
            }
        }
    }
}
