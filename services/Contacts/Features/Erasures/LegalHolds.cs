using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Erasures;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Erasures;

/// <summary>
/// Holds that forbid the erasure of a customer, in the recycle bin or removed with an import too, whichever of its records
/// they were set on. Each is set and lifted with a reason and is in the audit log. One set while customers were merged binds
/// each of them after the undo, until it is lifted there.
/// </summary>
internal static class LegalHolds
{
    public sealed record Request
    {
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<Created<LegalHoldView>> Set(string id, Request body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var (named, _) = await db.FindStoredRootAsync(id, ct);
        var hold = await db.InTransactionAsync(async () =>
        {
            var customer = await db.HoldStoredAsync(named, ct);
            await db.RequireDepartmentAsync(customer, ct);
            var set = LegalHold.Set(customer.Id, body.Reason!, http.User.Subject(), clock.GetUtcNow());
            db.LegalHolds.Add(set);
            await SaveAsync(db, set, ct);
            return set;
        }, ct);
        return TypedResults.Created($"/v1/customers/{Ids.Customer.Format(hold.CustomerId)}/legal-holds", LegalHoldView.Of(hold));
    }

    /// <summary>As <see cref="Set"/> by the department that owns the customer: once it is lifted nothing forbids the erasure.</summary>
    public static async Task<Ok<LegalHoldView>> Lift(string id, string hold, Request body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var ids = await db.FindWithAbsorbedAsync(id, http, ct);
        if (!Ids.LegalHold.TryParse(hold, out var key))
        {
            throw ProblemException.NotFound("legal hold");
        }

        var found = await db.InTransactionAsync(async () =>
        {
            var bound = await db.LegalHolds.Where(h => h.Id == key && ids.Contains(h.CustomerId)).Select(h => (Guid?)h.CustomerId).SingleOrDefaultAsync(ct)
                ?? throw ProblemException.NotFound("legal hold");
            // Whoever stands for it by now: the merge in which it was found may have been undone.
            await db.RequireDepartmentAsync(await db.HoldStoredAsync(bound, ct), ct);
            var lifted = (await db.LegalHolds.ForUpdate($"id = {key}").ToListAsync(ct)).SingleOrDefault() ?? throw ProblemException.NotFound("legal hold");
            lifted.Lift(body.Reason!, http.User.Subject(), clock.GetUtcNow());
            await SaveAsync(db, lifted, ct);
            return lifted;
        }, ct);
        return TypedResults.Ok(LegalHoldView.Of(found));
    }

    /// <summary>Of the customer and all who were merged into it, newest first.</summary>
    public static async Task<Page<LegalHoldView>> List(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(http.Request, Ids.LegalHold);
        var ids = await db.FindWithAbsorbedAsync(id, http, ct);
        return await db.LegalHolds.AsNoTracking().Where(h => ids.Contains(h.CustomerId)).ToPageAsync(page, h => h.Id, Ids.LegalHold, LegalHoldView.Of, ct);
    }

    /// <exception cref="ProblemException">409 <c>legal_hold</c>.</exception>
    public static async Task RequireNoHoldAsync(this ContactsDb db, IReadOnlyCollection<Guid> customers, CancellationToken ct)
    {
        var holds = await db.LegalHolds.AsNoTracking().Where(h => customers.Contains(h.CustomerId) && h.LiftedAt == null).OrderBy(h => h.Id).Take(10).ToListAsync(ct);
        if (holds is [var first, ..])
        {
            throw new ProblemException(ProblemCodes.LegalHold, $"A legal hold forbids it: {first.Reason}")
            {
                Extensions = new Dictionary<string, object?> { ["holds"] = holds.ConvertAll(LegalHoldView.Of) },
            };
        }
    }

    /// <summary>
    /// Nobody can know whom a hold concerned that was set while the customers were one, so the undo of a merge sets it on
    /// each restored one. Save afterwards.
    /// </summary>
    /// <param name="survivors">On whom holds were set meanwhile, and since when.</param>
    public static async Task<List<CarriedHold>> CarryHoldsAsync(
        this ContactsDb db, Guid[] restored, Guid[] survivors, DateTimeOffset[] since, string actor, DateTimeOffset now, CancellationToken ct)
    {
        var held = await db.LegalHolds.SelectFrom($"""
            legal_holds WHERE lifted_at IS NULL AND customer_id = ANY ({survivors})
            AND EXISTS (SELECT FROM unnest({survivors}, {since}) AS s(survivor, since) WHERE s.survivor = customer_id AND set_at >= s.since)
            """).AsNoTracking().OrderBy(h => h.Id).ToListAsync(ct);
        var carried = restored.SelectMany(r => held.Select(h => h.CarryTo(r, actor, now))).ToList();
        db.LegalHolds.AddRange(carried);
        carried.ForEach(h => db.AuditRow(LegalHold.RecordType, h.Id, h.CustomerId, h));
        return carried.ConvertAll(h => new CarriedHold(Ids.Customer.Format(h.CustomerId), Ids.LegalHold.Format(h.Id), Ids.LegalHold.Format(h.CarriedFrom!.Value)));
    }

    private static async Task<Guid[]> FindWithAbsorbedAsync(this ContactsDb db, string id, HttpContext http, CancellationToken ct)
    {
        var root = await db.FindStoredAtPathAsync(id, http, ct);
        return await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[{root}]) AS id").ToArrayAsync(ct);
    }

    private static Task<int> SaveAsync(ContactsDb db, LegalHold hold, CancellationToken ct)
    {
        db.AuditRow(LegalHold.RecordType, hold.Id, hold.CustomerId, hold);
        return db.SaveChangesAsync(ct);
    }
}

/// <param name="LiftedAt">Null while it forbids the erasure.</param>
/// <param name="CarriedFrom">Of one that the undo of a merge set: the survivor's hold, <c>hld_…</c>.</param>
public sealed record LegalHoldView(
    string Id, string CustomerId, string Reason, string Actor, DateTimeOffset SetAt, DateTimeOffset? LiftedAt, string? LiftedBy, string? LiftReason,
    string? CarriedFrom)
{
    internal static LegalHoldView Of(LegalHold hold) => new(
        Ids.LegalHold.Format(hold.Id), Ids.Customer.Format(hold.CustomerId), hold.Reason, hold.Actor, hold.SetAt, hold.LiftedAt, hold.LiftedBy, hold.LiftReason,
        Ids.LegalHold.Format(hold.CarriedFrom));
}
