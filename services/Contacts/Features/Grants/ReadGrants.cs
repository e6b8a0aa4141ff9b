using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Grants;

/// <summary>
/// What departments have granted to one another, newest first: of an owner, to a department, of a customer, whichever of its
/// merged records they were made for. Somebody of departments sees what these gave and got.
/// </summary>
internal static class ReadGrants
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "owner_department", "grantee_department", "customer_id", "active"];

    public static async Task<Page<GrantView>> List(HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var (page, now) = (PageRequest.Read(request, Ids.Grant), clock.GetUtcNow());
        var grants = db.SeenGrants();
        if (request.Query["owner_department"] is [{ } owner])
        {
            grants = grants.Where(g => g.OwnerDepartment == owner);
        }

        if (request.Query["grantee_department"] is [{ } grantee])
        {
            grants = grants.Where(g => g.GranteeDepartment == grantee);
        }

        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? await db.RootOfAsync(id, ct) ?? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            // Those of absorbed records rest under their own ids.
            var records = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[{customer}]) AS id").ToListAsync(ct);
            grants = grants.Where(g => g.CustomerId != null && records.Contains(g.CustomerId.Value));
        }

        grants = request.Query["active"].ToString() switch
        {
            "" => grants,
            "true" => grants.At(now),
            _ => throw ProblemException.InvalidParameter("active", "true, or nothing."),
        };
        return await grants.ToPageAsync(page, g => g.Id, Ids.Grant, g => GrantView.Of(g, now), ct);
    }

    public static async Task<Ok<GrantView>> One(string id, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(GrantView.Of(await db.FindGrantAsync(id, ct), clock.GetUtcNow()));

    /// <exception cref="ProblemException">404.</exception>
    public static async Task<Grant> FindGrantAsync(this ContactsDb db, string id, CancellationToken ct) =>
        Ids.Grant.TryParse(id, out var key) && await db.SeenGrants().FirstOrDefaultAsync(g => g.Id == key, ct) is { } grant ? grant : throw ProblemException.NotFound("grant");

    /// <summary>Those that hold at the instant.</summary>
    public static IQueryable<Grant> At(this IQueryable<Grant> grants, DateTimeOffset now) => grants.Where(g => g.EndedAt == null && (g.ExpiresAt == null || g.ExpiresAt > now));

    private static IQueryable<Grant> SeenGrants(this ContactsDb db)
    {
        var own = CallerRights.Current.Departments.ToArray();
        return own.Length == 0 ? db.Grants.AsNoTracking() : db.Grants.AsNoTracking().Where(g => own.Contains(g.OwnerDepartment) || own.Contains(g.GranteeDepartment));
    }
}
