using Crm.Contacts.Domain;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.AccountManagers;

/// <summary>
/// Hands the customers of one account manager over to another, from now on or from <c>starts_at</c> on: all of them, or
/// those of a department or a tier. In one step: nobody is left between the two. What is scheduled stays so: the other one
/// begins and ends when the first one would have. Of other departments' customers, those that the caller does not change
/// stay with whom they have, and are counted in <c>left</c>.
/// </summary>
internal static class ReassignAccounts
{
    public sealed record Response(string From, string To, DateTimeOffset StartsAt, int Reassigned, int Left);

    public static async Task<Ok<Response>> Handle(ReassignmentInput body, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        if (body.From == body.To)
        {
            throw ProblemException.Invalid(new FieldError("/to", "same_manager", "That is who has them."));
        }

        var now = clock.GetUtcNow();
        var from = body.StartsAt ?? now;
        var (reassigned, left) = await db.InTransactionAsync(async () =>
        {
            var actor = db.Actor();
            var (reached, others) = await SplitAsync(body, from, db, ct);
            // Locked in the order in which an assignment takes them, and as that has left them.
            var begun = await db.Database.SqlQuery<Begun>($"""
                WITH held AS (
                    SELECT a.id, a.customer_id, a.origin_customer_id, a.starts_at, a.ends_at
                    FROM account_managers a JOIN customers c ON c.id = a.customer_id
                    WHERE a.manager = {body.From} AND (a.ends_at IS NULL OR a.ends_at > greatest(a.starts_at, {from})) AND c.state = 'active'
                      AND ({body.Department}::text IS NULL OR c.department = {body.Department}) AND ({body.Tier}::text IS NULL OR c.tier = {body.Tier})
                      AND ({reached}::uuid[] IS NULL OR c.id = ANY ({reached}))
                    ORDER BY a.id FOR UPDATE OF a),
                ended AS (
                    UPDATE account_managers a SET ends_at = greatest(held.starts_at, {from}) FROM held WHERE a.id = held.id)
                INSERT INTO account_managers (id, customer_id, origin_customer_id, manager, starts_at, ends_at, actor, created_at)
                SELECT uuid_at({now}), customer_id, origin_customer_id, {body.To}, greatest(starts_at, {from}), ends_at, {actor}, {now}
                FROM held
                RETURNING customer_id AS "Customer", starts_at AS "StartsAt"
                """).ToListAsync(ct);
            var customers = begun.GroupBy(b => b.Customer).ToDictionary(g => g.Key, g => g.Min(b => b.StartsAt));
            await db.AuditAsync(actor, customers.Select(c => ("assigned", AccountManager.RecordType, c.Key, (Guid?)c.Key, AssignAccountManager.Changes(body.From, body.To, c.Value))), ct);
            await db.OvertakeAsync([], [], [.. customers.Keys], ct);
            await db.SaveChangesAsync(ct);
            return (customers.Count, others);
        }, ct);
        return TypedResults.Ok(new Response(body.From!, body.To!, from, reassigned, left));
    }

    /// <summary>The customers that the caller changes, null for all; and how many it sees and does not change.</summary>
    private static async Task<(Guid[]? Reached, int Others)> SplitAsync(ReassignmentInput body, DateTimeOffset from, ContactsDb db, CancellationToken ct)
    {
        var rights = CallerRights.Current;
        if (rights.AllCustomers && rights.Departments.Count == 0)
        {
            return (null, 0);
        }

        var own = rights.Departments.ToArray();
        var grants = db.PresentGrants();
        var managed = db.AccountManagers.Where(a => a.Manager == body.From && (a.EndsAt == null || (a.EndsAt > from && a.EndsAt > a.StartsAt)));
        var customers = await db.Customers.Living()
            .Where(c => managed.Any(a => a.CustomerId == c.Id) && (body.Department == null || c.Department == body.Department) && (body.Tier == null || c.Tier == body.Tier))
            .Select(c => new
            {
                c.Id,
                c.Department,
                Granted = grants.Any(g => g.CustomerId == c.Id && g.OwnerDepartment == c.Department && g.Access == GrantAccess.Write && own.Contains(g.GranteeDepartment)),
            }).ToListAsync(ct);
        Guid[] reached = [.. customers.Where(c => c.Department is null || c.Granted || rights.MayWriteOf(c.Department)).Select(c => c.Id)];
        return (reached, customers.Count - reached.Length);
    }

    private sealed record Begun(Guid Customer, DateTimeOffset StartsAt);
}
