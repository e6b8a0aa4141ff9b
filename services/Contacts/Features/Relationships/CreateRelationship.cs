using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>
/// Says what the customer is to another one. 409 <c>conflict</c> when that was said already for one of these days, or when
/// the organisation belongs to another one on one of them; 422 naming <c>/to_id</c> when on one of them an organisation would
/// belong to itself over others. 202 with a change request when the customer belongs to another department that approves such
/// changes.
/// </summary>
internal static class CreateRelationship
{
    /// <summary>Who holds it is alone in changing which organisation belongs to which.</summary>
    public const string HierarchyLock = "organization hierarchy";

    public static async Task<IResult> Handle(string id, RelationshipInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        await RunAsync(await db.FindAtPathAsync(id, http, ct), body, http, db, clock, ct);

    public static async Task<IResult> RunAsync(Guid fromId, RelationshipInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (!Ids.Customer.TryParse(body.ToId, out var named))
        {
            throw ProblemException.Invalid(new FieldError("/to_id", "wrong_format", "A customer id, cus_…"));
        }

        return await db.InTransactionAsync(async () =>
        {
            fromId = await db.HoldRootAsync(fromId, ct);
            var toId = await db.HoldRootAsync(named, ct);
            var customers = await db.Customers.Where(c => (c.Id == fromId || c.Id == toId) && c.State == CustomerState.Active).ToDictionaryAsync(c => c.Id, ct);
            var from = customers.GetValueOrDefault(fromId) ?? throw ProblemException.NotFound("customer");
            var mustAsk = await db.MustAskAsync(from, ct);
            var to = customers.GetValueOrDefault(toId)
                ?? throw new ProblemException(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError("/to_id", "unknown_customer"));
            var relationship = Relationship.Begin(body, from, to, clock.GetUtcNow());
            // In the order of a change and of an approval: the customer first.
            await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {fromId} FOR NO KEY UPDATE", ct);
            await RequireNewAsync(relationship, "/to_id", db, ct);
            if (mustAsk)
            {
                return await db.AskAsync(http, from, new(ChangeOperation.CreateRelationship, JsonSerializer.SerializeToNode(body, JsonDefaults.Options)!.AsObject(), []), clock.GetUtcNow(), ct);
            }

            db.Relationships.Add(relationship);
            db.AuditRow(Relationship.RecordType, relationship.Id, relationship.FromId, relationship, relationship.OriginFromId);
            await db.SaveChangesAsync(ct);
            http.Response.Headers.ETag = ETags.Of(relationship.Version);
            var view = RelationshipView.Of(relationship);
            return (IResult)TypedResults.Created($"/v1/relationships/{view.Id}", view);
        }, ct);
    }

    /// <summary>Holds off whoever says the same, or changes the hierarchy, until the transaction ends.</summary>
    /// <param name="pointer">To what is wrong then.</param>
    /// <exception cref="ProblemException">409, 422.</exception>
    public static async Task RequireNewAsync(Relationship wanted, string pointer, ContactsDb db, CancellationToken ct)
    {
        var inHierarchy = Relationship.Hierarchy.Contains(wanted.Type);
        await db.LockAsync([inHierarchy ? HierarchyLock : $"relationship {wanted.FromId}"], ct);
        var alike = db.Relationships.AsNoTracking().Where(r => r.Id != wanted.Id && r.FromId == wanted.FromId && r.FromId != r.ToId);
        alike = inHierarchy
            // One in the recycle bin is in nobody's way; its restore asks again.
            ? alike.Where(r => Relationship.Hierarchy.Contains(r.Type) && r.To.State == CustomerState.Active)
            : alike.Where(r => r.ToId == wanted.ToId && r.Type == wanted.Type && r.Role == wanted.Role && r.Purchase == wanted.Purchase);
        if ((await alike.OrderBy(r => r.Id).ToListAsync(ct)).Find(wanted.Overlaps) is { } present)
        {
            throw new ProblemException(
                ProblemCodes.Conflict,
                inHierarchy ? "On some of these days the organization belongs to one already; end that relationship before them." : "This was said already.",
                new FieldError(pointer, "already_exists"))
            {
                Extensions = new Dictionary<string, object?> { ["existing_id"] = Ids.Relationship.Format(present.Id) },
            };
        }

        if (inHierarchy && await db.Database.SqlQuery<bool>($"SELECT {wanted.FromId} IN (SELECT organizations_above({wanted.ToId}, {wanted.FirstDay()}, {wanted.EndsOn}::date)) AS \"Value\"").SingleAsync(ct))
        {
            throw new ProblemException(ProblemCodes.Unprocessable, "The organization would belong to itself.", new FieldError(pointer, "cycle"));
        }
    }
}
