using Crm.Contacts.Domain;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Grants;

/// <summary>Ends a grant: the next request of the other department goes without it. It stays readable; one that has ended already stays as it is.</summary>
internal static class RevokeGrant
{
    public static async Task<NoContent> Handle(string id, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var found = await db.FindGrantAsync(id, ct);
        MakeGrant.RequireOwner(found.OwnerDepartment);
        await db.InTransactionAsync(async () =>
        {
            var grant = (await db.Grants.ForUpdate($"id = {found.Id}").ToListAsync(ct)).SingleOrDefault() ?? throw ProblemException.NotFound("grant");
            if (grant.Revoke(db.Actor(), clock.GetUtcNow()))
            {
                db.Audit("revoked", Grant.RecordType, grant.Id, grant.CustomerId, AuditChanges.Of(db.Entry(grant)));
                db.Publish(grant, grant.Changed());
                await db.SaveChangesAsync(ct);
            }

            return true;
        }, ct);
        return TypedResults.NoContent();
    }
}
