using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>
/// Who is around a customer: the relationships that hold today, or on the day of <c>at</c>, up to <c>depth</c> (1 or 2)
/// hops away, and the customers at their ends. A thousand relationships at most; then <c>truncated</c> says so.
/// </summary>
internal static class ReadNetwork
{
    private const int Most = 1000;

    public static readonly string[] Parameters = ["depth", "at"];

    public sealed record Response(IReadOnlyList<Node> Customers, IReadOnlyList<RelationshipView> Relationships, bool Truncated);

    /// <param name="Distance">Hops from the customer.</param>
    public sealed record Node(string Id, CustomerKind Kind, [property: FieldGroup(FieldGroups.Names)] string DisplayName, int Distance);

    public static async Task<Ok<Response>> Handle(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var depth = http.Request.Query["depth"].ToString() switch
        {
            "" or "1" => 1,
            "2" => 2,
            _ => throw ProblemException.InvalidParameter("depth", "1 or 2."),
        };
        var day = RelationshipReads.ReadDay(http.Request) ?? clock.Today();
        var center = await db.FindAtPathAsync(id, http, ct);
        var customer = await db.Customers.AsNoTracking().FirstAsync(c => c.Id == center, ct);
        var nodes = new Dictionary<Guid, (Customer Customer, int Distance)> { [center] = (customer, 0) };
        var found = new Dictionary<Guid, Relationship>();
        Guid[] frontier = [center];
        for (var hop = 1; hop <= depth && found.Count <= Most && frontier.Length > 0; hop++)
        {
            var known = found.Keys.ToArray();
            var next = await db.Relationships.AsNoTracking().Living().On(day).Shown(db.Relationships, day)
                .Where(r => (frontier.Contains(r.FromId) || frontier.Contains(r.ToId)) && !known.Contains(r.Id))
                .OrderBy(r => r.Id).Take(Most + 1 - found.Count).ToListAsync(ct);
            foreach (var relationship in next)
            {
                found[relationship.Id] = relationship;
                nodes.TryAdd(relationship.FromId, (relationship.From, hop));
                nodes.TryAdd(relationship.ToId, (relationship.To, hop));
            }

            frontier = [.. nodes.Where(n => n.Value.Distance == hop).Select(n => n.Key)];
        }

        return TypedResults.Ok(new Response(
            [.. nodes.Values.OrderBy(n => n.Distance).ThenBy(n => n.Customer.Id).Select(n => new Node(Ids.Customer.Format(n.Customer.Id), n.Customer.Kind, n.Customer.DisplayName, n.Distance))],
            [.. found.Values.Take(Most).Select(RelationshipView.Of)],
            found.Count > Most));
    }
}
