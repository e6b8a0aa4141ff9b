using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>What <c>from</c> is to <c>to</c>.</summary>
/// <param name="EndsOn">The last day.</param>
public sealed record RelationshipView(
    string Id,
    RelationshipType Type,
    PartyView From,
    PartyView To,
    string? Role,
    string? Purchase,
    DateOnly? StartsOn,
    DateOnly? EndsOn,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    internal static RelationshipView Of(Relationship r) => new(
        Ids.Relationship.Format(r.Id), r.Type, PartyView.Of(r.From), PartyView.Of(r.To), r.Role, r.Purchase, r.StartsOn, r.EndsOn, r.Version, r.CreatedAt, r.UpdatedAt);
}

public sealed record PartyView(string Id, CustomerKind Kind, [property: FieldGroup(FieldGroups.Names)] string DisplayName)
{
    internal static PartyView Of(Customer customer) => new(Ids.Customer.Format(customer.Id), customer.Kind, customer.DisplayName);
}

internal static class RelationshipReads
{
    /// <summary>Between two customers who are there; a merge of both ends leaves one that is shown no more until its undo.</summary>
    public static IQueryable<Relationship> Living(this IQueryable<Relationship> relationships) => relationships
        .Include(r => r.From).Include(r => r.To)
        .Where(r => r.FromId != r.ToId && r.From.State == CustomerState.Active && r.To.State == CustomerState.Active);

    public static IQueryable<Relationship> On(this IQueryable<Relationship> relationships, DateOnly day) => relationships
        .Where(r => (r.StartsOn == null || r.StartsOn <= day) && (r.EndsOn == null || r.EndsOn >= day));

    /// <summary>
    /// Of several that hold on the day and of which there can be one (parents; the same said twice), as a merge brings about, or
    /// one that does not say since when: the customer's own one, else one that says it, else the one recorded first.
    /// </summary>
    public static IQueryable<Relationship> Shown(this IQueryable<Relationship> relationships, IQueryable<Relationship> all, DateOnly day) => relationships
        .Where(r => r.StartsOn > day || r.EndsOn < day || !all.Any(o => o.FromId == r.FromId && o.FromId != o.ToId
            && o.From.State == CustomerState.Active && o.To.State == CustomerState.Active
            && (o.StartsOn == null || o.StartsOn <= day) && (o.EndsOn == null || o.EndsOn >= day)
            && ((Relationship.Hierarchy.Contains(o.Type) && Relationship.Hierarchy.Contains(r.Type))
                || (o.ToId == r.ToId && o.Type == r.Type && o.Role == r.Role && o.Purchase == r.Purchase))
            && ((o.OriginFromId == o.FromId && r.OriginFromId != r.FromId)
                || ((o.OriginFromId == o.FromId) == (r.OriginFromId == r.FromId)
                    && ((o.OriginToId == o.ToId && r.OriginToId != r.ToId)
                        || ((o.OriginToId == o.ToId) == (r.OriginToId == r.ToId)
                            && ((o.StartsOn != null && r.StartsOn == null) || ((o.StartsOn == null) == (r.StartsOn == null) && o.Id < r.Id))))))));

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Relationship> FindRelationshipAsync(this ContactsDb db, string id, CancellationToken ct) =>
        (Ids.Relationship.TryParse(id, out var key) ? await db.Relationships.Living().FirstOrDefaultAsync(r => r.Id == key, ct) : null)
            ?? throw ProblemException.NotFound("relationship");

    /// <summary>The day of <c>at</c>.</summary>
    /// <exception cref="ProblemException">400.</exception>
    public static DateOnly? ReadDay(HttpRequest request) => request.Query["at"] is not [{ } text] ? null
        : DateOnly.TryParseExact(text, "yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.None, out var day) ? day
        : throw ProblemException.InvalidParameter("at", "A day, such as 2026-01-31.");

    public static DateOnly Today(this TimeProvider clock) => DateOnly.FromDateTime(clock.GetUtcNow().UtcDateTime);
}
