using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Relationships;

/// <summary>One relationship: read, changed in role and dates, or taken back as never having been; the last two need <c>If-Match</c>.</summary>
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
        var relationship = await db.FindRelationshipAsync(id, ct);
        ETags.RequireMatch(http, relationship.Version);
        await db.RequireDepartmentAsync(relationship.From, ct);
        var terms = MergePatch.Apply(relationship.Terms, patch);
        await validation.EnsureValidAsync(terms, ct);
        if (relationship.Change(terms, clock.GetUtcNow()))
        {
            db.AuditRow(Relationship.RecordType, relationship.Id, relationship.FromId, relationship);
            await SaveAsync(db, ct);
        }

        http.Response.Headers.ETag = ETags.Of(relationship.Version);
        return TypedResults.Ok(RelationshipView.Of(relationship));
    }

    public static async Task<IResult> Delete(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var relationship = await db.FindRelationshipAsync(id, ct);
        ETags.RequireMatch(http, relationship.Version);
        await db.RequireDepartmentAsync(relationship.From, ct);
        db.Relationships.Remove(relationship);
        db.Audit("deleted", Relationship.RecordType, relationship.Id, relationship.FromId, AuditChanges.Between(RelationshipView.Of(relationship), null));
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
