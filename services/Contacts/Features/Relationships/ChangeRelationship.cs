using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>
/// One relationship: read, changed in role and dates, or taken back as never having been; the last two need <c>If-Match</c>, and
/// are a change request when <c>from</c> belongs to another department. 409 and 422 as of a new one when it says more than before.
/// </summary>
internal static class ChangeRelationship
{
    public static async Task<IResult> Read(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var relationship = await db.FindRelationshipAsync(id, ct);
        return ETags.Ok(http, relationship.Version, RelationshipView.Of(relationship));
    }

    public static async Task<IResult> Patch(string id, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        ETags.RequireMatch(http, (await db.FindRelationshipAsync(id, ct)).Version);
        return await PatchAsync(id, patch, http, db, validation, clock, ct);
    }

    public static Task<IResult> PatchAsync(string id, JsonObject patch, HttpContext http, ContactsDb db, Validation validation, TimeProvider clock, CancellationToken ct) =>
        db.InTransactionAsync(async () =>
        {
            var relationship = await db.FindRelationshipAsync(id, ct);
            var mustAsk = await db.MustAskAsync(relationship.From, ct);
            var before = relationship.Terms;
            var terms = MergePatch.Apply(before, patch);
            await validation.EnsureValidAsync(terms, ct);
            if (relationship.Change(terms, clock.GetUtcNow()))
            {
                if (relationship.SaysMoreThan(before))
                {
                    // In the order of an approval: the customer first.
                    await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {relationship.FromId} FOR NO KEY UPDATE", ct);
                    await CreateRelationship.RequireNewAsync(relationship, "", db, ct);
                }

                if (mustAsk)
                {
                    await db.Entry(relationship).ReloadAsync(ct);
                    return await db.AskAsync(
                        http, relationship.From, new(ChangeOperation.ChangeRelationship, patch, JsonSerializer.SerializeToNode(before, JsonDefaults.Options)!.AsObject(), relationship.Id),
                        clock.GetUtcNow(), ct);
                }

                db.AuditRow(Relationship.RecordType, relationship.Id, relationship.FromId, relationship, relationship.OriginFromId);
                await SaveAsync(db, ct);
            }

            http.Response.Headers.ETag = ETags.Of(relationship.Version);
            return (IResult)TypedResults.Ok(RelationshipView.Of(relationship));
        }, ct);

    public static async Task<IResult> Delete(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        ETags.RequireMatch(http, (await db.FindRelationshipAsync(id, ct)).Version);
        return await DeleteAsync(id, http, db, clock, ct);
    }

    public static async Task<IResult> DeleteAsync(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var relationship = await db.FindRelationshipAsync(id, ct);
        if (await db.MustAskAsync(relationship.From, ct))
        {
            return await db.AskAsync(http, relationship.From, new(ChangeOperation.DeleteRelationship, [], [], relationship.Id), clock.GetUtcNow(), ct);
        }

        db.Relationships.Remove(relationship);
        // Without the names of the two: when the one who is named last is erased, nothing leads here any more.
        db.Audit("deleted", Relationship.RecordType, relationship.Id, relationship.FromId, AuditChanges.Between(new
        {
            relationship.Type,
            relationship.FromId,
            relationship.ToId,
            relationship.Role,
            relationship.Purchase,
            relationship.StartsOn,
            relationship.EndsOn,
        }, null), relationship.OriginFromId);
        await SaveAsync(db, ct);
        return TypedResults.NoContent();
    }

    private static async Task SaveAsync(ContactsDb db, CancellationToken ct)
    {
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
        }
    }
}
