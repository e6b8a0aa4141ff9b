using System.ComponentModel.DataAnnotations;
using System.ComponentModel.DataAnnotations.Schema;
using System.Text.Json;
using Crm.Campaigns.Domain.Segments;
using Crm.Contracts;
using Crm.Contracts.Contacts.V1;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace Crm.Campaigns.Features.Segments;

/// <summary>The writable fields of a segment.</summary>
public sealed record SegmentInput
{
    [Required, Line(200)]
    public string? Name { get; init; }

    /// <summary>Relative facts count back from this UTC date; a date, or an RFC 3339 instant whose date counts. Null is now.</summary>
    [AsOfDay]
    public string? AsOf { get; init; }

    /// <summary>
    /// all, any, not and conditions such as {"fact":"orders.count","gte":2}; ten levels and fifty conditions at most.
    /// Operators: eq, ne, gt, gte, lt, lte, in, contains, exists; exactly one a condition. Facts: lifecycle, kind, tier, tags
    /// (contains one, in: one or more of these), country, department, locale, email, created_at, attributes.NAME (money: minor
    /// units of the "currency" beside it), orders.count, orders.spend (the same), orders.first_at, orders.last_at, orders.days_since_first, orders.days_since_last,
    /// cases.open, complaints.open, consent.CHANNEL.PURPOSE, interactions.days_since_last. Cancelled orders do not
    /// count. A comparison with a value that is missing is false, ne too, and its negation by not is true; counts and
    /// sums of nothing are 0.
    /// </summary>
    [Required]
    public JsonElement? Definition { get; init; }
}

[AttributeUsage(AttributeTargets.Property)]
public sealed class AsOfDayAttribute : ValidationAttribute
{
    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        value is string text && !AsOf.TryParse(text, out _)
            ? new("wrong_format|A date such as 1998-06-30, or an RFC 3339 instant with its zone.", validationContext.MemberName is { } member ? [member] : null)
            : ValidationResult.Success;
}

/// <summary>A segment as the API shows it; in lists without the count, which costs a look at every customer.</summary>
public sealed record SegmentView(
    string Id,
    string Name,
    string? AsOf,
    JsonElement Definition,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>Members at this moment.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public long? Count { get; init; }

    internal static SegmentView Of(Segment segment) => new(
        Ids.Segment.Format(segment.Id), segment.Name, segment.AsOf, segment.Definition, segment.Version, segment.CreatedAt, segment.UpdatedAt);
}

/// <summary>A customer in a segment.</summary>
public sealed record MemberView(string CustomerId, [property: FieldGroup(FieldGroups.Names)] string DisplayName)
{
    internal static MemberView Of(MemberRow row) => new(Ids.Customer.Format(row.Id), row.DisplayName);
}

internal sealed record MemberRow([property: Column("id")] Guid Id, [property: Column("display_name")] string DisplayName);

internal static class SegmentQueries
{
    /// <exception cref="ProblemException">
    /// 400 when it is wrong; 403 <c>field_forbidden</c> when it asks for what the caller may not see: the count of members would tell.
    /// </exception>
    public static async Task<Condition> ReadForCallerAsync(this CampaignsDb db, JsonElement definition, CancellationToken ct) =>
        await db.RequireVisibleAsync(SegmentDefinition.Parse(definition), ct);

    /// <summary>As <see cref="ReadForCallerAsync"/>, of a definition that comes in: its tiers are those that there are.</summary>
    public static async Task<Condition> ReadNewForCallerAsync(this CampaignsDb db, JsonElement definition, CancellationToken ct)
    {
        var tiers = await db.Tiers.Select(t => t.Name).ToListAsync(ct);
        // None: the copy is not filled yet.
        return await db.RequireVisibleAsync(SegmentDefinition.Parse(definition, tiers.Count > 0 ? tiers : null), ct);
    }

    /// <summary>A field group that the definition asks about and the caller may not see.</summary>
    /// <exception cref="ProblemException">503 when it asks about attributes and Contacts, who knows their groups, cannot be reached.</exception>
    public static async Task<string?> HiddenGroupAsync(this CampaignsDb db, Condition condition, CancellationToken ct) => (await db.HiddenGroupsAsync([condition], ct))[0];

    /// <summary>The same of several, in their order.</summary>
    /// <inheritdoc cref="HiddenGroupAsync"/>
    public static async Task<List<string?>> HiddenGroupsAsync(this CampaignsDb db, IReadOnlyCollection<Condition> conditions, CancellationToken ct)
    {
        var rights = CallerRights.Current;
        if (rights.AllFields)
        {
            return [.. conditions.Select(_ => (string?)null)];
        }

        return (await db.AskedGroupsAsync(conditions, ct)).ConvertAll(groups => groups.Find(g => rights.Read(g) != FieldAccess.Allow));
    }

    /// <summary>The field groups that each of the definitions asks about, whoever may see them.</summary>
    /// <inheritdoc cref="HiddenGroupAsync"/>
    public static async Task<List<List<string>>> AskedGroupsAsync(this CampaignsDb db, IReadOnlyCollection<Condition> conditions, CancellationToken ct)
    {
        var asked = conditions.Select(c => FactsOf(c).ToList()).ToList();
        var own = asked.Exists(facts => facts.Exists(f => f.IsAttribute)) ? await db.ReadAttributeGroupsAsync(ct) : new Dictionary<string, string>();
        return asked.ConvertAll(facts => facts.Select(f => f.Group).Concat(facts.Where(f => f.IsAttribute).Select(f => own.GetValueOrDefault(f.Argument!)))
            .OfType<string>().Distinct(StringComparer.Ordinal).ToList());
    }

    private static async Task<Condition> RequireVisibleAsync(this CampaignsDb db, Condition condition, CancellationToken ct) =>
        await db.HiddenGroupAsync(condition, ct) is { } group ? throw FieldRules.Forbidden("/definition", group) : condition;

    private static IEnumerable<Fact> FactsOf(Condition condition) => condition switch
    {
        All all => all.Conditions.SelectMany(FactsOf),
        Any any => any.Conditions.SelectMany(FactsOf),
        Not not => FactsOf(not.Condition),
        Comparison comparison => [comparison.Fact],
        _ => [],
    };

    private static async Task<Dictionary<string, string>> ReadAttributeGroupsAsync(this CampaignsDb db, CancellationToken ct)
    {
        try
        {
            return (await db.GetService<Contacts.ContactsClient>().ListAttributeGroupsAsync(new ListAttributeGroupsRequest(), cancellationToken: ct)).Groups.ToDictionary();
        }
        catch (RpcException) when (!ct.IsCancellationRequested)
        {
            throw new ProblemException(ProblemCodes.Unavailable, "Contacts cannot be asked who may see these attributes; try again.") { RetryAfter = 1 };
        }
    }

    /// <param name="condition">That the caller may ask about.</param>
    public static async Task<long> CountMembersAsync(this CampaignsDb db, Condition condition, string? asOf, TimeProvider clock, CancellationToken ct)
    {
        var members = SegmentSql.Compile(condition, AsOf.Day(asOf, clock.GetUtcNow()));
        return await db.Database.SqlQueryRaw<long>(members.CountSql, [.. members.Parameters]).SingleAsync(ct);
    }

    /// <param name="condition">That the caller may ask about.</param>
    public static async Task<Page<MemberView>> ListMembersAsync(this CampaignsDb db, Condition condition, string? asOf, PageRequest page, TimeProvider clock, CancellationToken ct)
    {
        var members = SegmentSql.Compile(condition, AsOf.Day(asOf, clock.GetUtcNow()), page: true);
        return await db.Database.SqlQueryRaw<MemberRow>(members.Sql, [.. members.Parameters]).ToPageAsync(page, m => m.Id, Ids.Customer, MemberView.Of, ct);
    }

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Segment> FindSegmentAsync(this CampaignsDb db, string id, CancellationToken ct) =>
        Ids.Segment.TryParse(id, out var key) && await db.Segments.FirstOrDefaultAsync(s => s.Id == key, ct) is { } segment
            ? segment
            : throw ProblemException.NotFound("segment");
}
