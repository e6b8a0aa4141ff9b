using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>
/// Relationships, newest first: of a customer at either end, of a type, of the buying group of a purchase, or those that
/// hold on the day of <c>at</c>.
/// </summary>
internal static class ListRelationships
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "type", "purchase", "at"];

    public static async Task<Ok<Page<RelationshipView>>> Handle(HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Relationship);
        var relationships = db.Relationships.AsNoTracking().Living();
        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? await db.RootOfAsync(id, ct) ?? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            relationships = relationships.Where(r => r.FromId == customer || r.ToId == customer);
        }

        if (request.ReadWord<RelationshipType>("type") is { } type)
        {
            relationships = relationships.Where(r => r.Type == type);
        }

        if (request.Query["purchase"] is [{ } purchase])
        {
            relationships = relationships.Where(r => r.Purchase == purchase);
        }

        var day = RelationshipReads.ReadDay(request);
        if (day is { } on)
        {
            relationships = relationships.On(on);
        }

        relationships = relationships.Shown(db.Relationships, day ?? clock.Today());
        return TypedResults.Ok(await relationships.ToPageAsync(page, r => r.Id, Ids.Relationship, RelationshipView.Of, ct));
    }
}
