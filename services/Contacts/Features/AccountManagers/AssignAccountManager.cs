using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.AccountManagers;

/// <summary>
/// From now on, or from <c>starts_at</c> on, this member of staff looks after the customer, instead of whoever did or
/// would have; with <c>manager</c> null nobody. Answers what holds from then on; the same again changes nothing. 202 with a
/// change request when the customer belongs to another department that approves such changes.
/// </summary>
internal static class AssignAccountManager
{
    public sealed record Response(string CustomerId, string? Manager, DateTimeOffset StartsAt);

    public static async Task<IResult> Handle(string id, AccountManagerInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        await RunAsync(await db.FindAtPathAsync(id, http, ct), body, http, db, clock, ct);

    public static async Task<IResult> RunAsync(Guid named, AccountManagerInput body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        var from = body.StartsAt ?? now;
        return await db.InTransactionAsync(async () =>
        {
            var living = await db.HoldLivingAsync(named, ct);
            var mustAsk = await db.MustAskAsync(living, ct);
            var customer = living.Id;
            // Of two at once, the second sees what the first said.
            await db.LockAsync([$"account manager {customer}"], ct);
            // And what a book that changed hands made of it.
            await db.Database.ExecuteSqlAsync($"SELECT FROM account_managers WHERE customer_id = {customer} ORDER BY id FOR UPDATE", ct);
            var present = await db.AccountManagers.AsNoTracking().Where(a => a.CustomerId == customer && (a.EndsAt == null || a.EndsAt > from)).ToListAsync(ct);
            if (present is [{ EndsAt: null } only] && only.Manager == body.Manager && only.StartsAt <= from)
            {
                return (IResult)TypedResults.Ok(new Response(Ids.Customer.Format(customer), only.Manager, only.StartsAt));
            }

            if (mustAsk)
            {
                return await db.AskAsync(http, living, new(
                    ChangeOperation.AssignAccountManager, JsonSerializer.SerializeToNode(body, JsonDefaults.Options)!.AsObject(), new() { ["manager"] = present.MaxBy(a => a.StartsAt)?.Manager }), now, ct);
            }

            // An absorbed one's goes on when the merge is undone.
            await db.Database.ExecuteSqlAsync($"""
                UPDATE account_managers SET ends_at = greatest(starts_at, {from}),
                    kept_ends_at = CASE WHEN origin_customer_id <> customer_id THEN coalesce(kept_ends_at, ends_at, 'infinity') END
                WHERE customer_id = {customer} AND (ends_at IS NULL OR ends_at > {from})
                """, ct);
            if (body.Manager is { } manager)
            {
                db.AccountManagers.Add(new()
                {
                    Id = Guid.CreateVersion7(now),
                    CustomerId = customer,
                    OriginCustomerId = customer,
                    Manager = manager,
                    StartsAt = from,
                    Actor = db.Actor(),
                    CreatedAt = now,
                });
            }

            if (present.Count > 0 || body.Manager is not null)
            {
                db.Audit("assigned", AccountManager.RecordType, customer, customer, Changes(present.MaxBy(a => a.StartsAt)?.Manager, body.Manager, from));
                await db.SaveChangesAsync(ct);
            }

            return TypedResults.Ok(new Response(Ids.Customer.Format(customer), body.Manager, from));
        }, ct);
    }

    internal static JsonObject Changes(string? before, string? after, DateTimeOffset from) =>
        AuditChanges.Between(new { Manager = before, StartsAt = (DateTimeOffset?)null }, new { Manager = after, StartsAt = (DateTimeOffset?)from });
}
