using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;

namespace Crm.Contacts.Features.Merges;

/// <summary>What a merge will make of the fields: whose value survives and why.</summary>
internal static class MergePlan
{
    /// <summary>The absorbed ones, the one whose values are preferred first: the more trusted source, then the latest change.</summary>
    public static List<Guid> Order(IEnumerable<Customer> absorbed, MergeOptions options) =>
        [.. absorbed.OrderBy(c => Rank(c, options)).ThenByDescending(c => c.UpdatedAt).ThenBy(c => c.Id).Select(c => c.Id)];

    /// <summary>The fields of the survivor afterwards, and where each comes from.</summary>
    public static (CustomerInput Fields, SortedDictionary<string, FieldOrigin> Origins) Preview(
        Customer survivor, IReadOnlyList<Customer> absorbed, MergeLayer merge, MergeOptions options)
    {
        var members = absorbed.ToDictionary(c => c.Id);
        var before = FieldJson.Of(survivor.ToInput());
        var fields = before.DeepClone().AsObject();
        var taken = new Dictionary<string, List<Guid>>(StringComparer.Ordinal);
        var ids = absorbed.Prepend(survivor).SelectMany(c => c.AllIds()).ToHashSet();
        var selfReferral = merge.ApplyTo(fields, id => members[id].ToInput(), ids, (field, from) =>
        {
            var key = field.Split('.')[0];
            taken[key] = taken.TryGetValue(key, out var others) ? others : [];
            if (!taken[key].Contains(from))
            {
                taken[key].Add(from);
            }
        });

        var origins = new SortedDictionary<string, FieldOrigin>(StringComparer.Ordinal);
        foreach (var name in FieldJson.Singles.Where(f => fields[f] is not null))
        {
            var from = taken.TryGetValue(name, out var source) ? source[0] : survivor.Id;
            var rule = name == FieldJson.Source && selfReferral ? FieldRule.SelfReferral
                : merge.Chosen.TryGetValue(name, out var chosen) && chosen == from ? FieldRule.Chosen
                : from == survivor.Id ? FieldRule.Survivor
                : absorbed.Any(c => c.UpdatedAt > members[from].UpdatedAt && Rank(c, options) > Rank(members[from], options) && FieldJson.Of(c.ToInput())[name] is not null) ? FieldRule.SourceRank
                : FieldRule.MostRecent;
            origins[name] = new(fields[name]!.DeepClone(), [Ids.Customer.Format(from)], rule);
        }

        foreach (var name in FieldJson.Lists.Append(FieldJson.Attributes))
        {
            var own = before[name] is JsonArray { Count: > 0 } or JsonObject { Count: > 0 };
            var sources = (own ? [survivor.Id] : Array.Empty<Guid>()).Concat(taken.GetValueOrDefault(name, []));
            origins[name] = new(fields[name]!.DeepClone(), [.. sources.Select(Ids.Customer.Format)], FieldRule.Union);
        }

        return (FieldJson.ToInput(fields), origins);
    }

    private static int Rank(Customer customer, MergeOptions options) => customer.SourceType is { } source && options.LeastTrustedSources.Contains(source) ? 1 : 0;
}

/// <summary>Why a value survives.</summary>
public enum FieldRule
{
    /// <summary>It was chosen.</summary>
    Chosen,

    /// <summary>The survivor has one.</summary>
    Survivor,

    /// <summary>Its source is more trusted than that of a later one.</summary>
    SourceRank,
    MostRecent,

    /// <summary>
    /// Of sources: the one that comes before it by the other rules names one of the merged as the referrer, and nobody refers
    /// themselves. Where all do, it is the first one without its referrer.
    /// </summary>
    SelfReferral,

    /// <summary>All are kept.</summary>
    Union,
}

/// <param name="From">Whose it is; of a union, all who have contributed.</param>
public sealed record FieldOrigin(JsonNode Value, IReadOnlyList<string> From, FieldRule Rule);
