using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Lifecycles;

/// <summary>What the steps of a lifecycle come to, and the steps that rules make.</summary>
internal static class LifecycleLedger
{
    /// <summary>The step that holds for a customer when the tops are one customer; null when an older version made it, without a step.</summary>
    public static async Task<LifecycleChange?> HeldLifecycleAsync(this ContactsDb db, Guid own, Guid[] tops, CancellationToken ct) =>
        (await db.LifecycleChanges.SelectFrom($"held_lifecycle({own}, {tops})").AsNoTracking().ToListAsync(ct)).SingleOrDefault();

    /// <summary>The state that holds for each of the customers.</summary>
    public static async Task<Dictionary<Guid, Lifecycle>> HeldLifecyclesAsync(this ContactsDb db, Guid[] customers, CancellationToken ct) =>
        (await db.Database.SqlQuery<HeldState>($"SELECT own AS id, to_state FROM unnest({customers}) AS own, LATERAL held_lifecycle(own, ARRAY[own]) AS h").ToListAsync(ct))
            .ToDictionary(h => h.Id, h => EnumWords<Lifecycle>.Parse(h.ToState));

    /// <summary>A step by rule; nothing is published when the customer was in that state already.</summary>
    public static void MoveLifecycle(this ContactsDb db, Customer customer, Lifecycle to, LifecycleCause cause, PlacedOrder? order, DateTimeOffset now)
    {
        var from = customer.Lifecycle;
        var moved = customer.Move(to, now);
        customer.LifecycleChanges.Add(LifecycleChange.To(customer, from, cause, db.Actor(), now, order));
        if (moved)
        {
            db.PublishLifecycle(customer, from);
        }
    }

    /// <summary>After an undo, which has advanced the version and publishes the customer: the step that the last of its orders makes, if it makes one.</summary>
    public static async Task FollowLastOrderAsync(this ContactsDb db, Customer customer, DateTimeOffset lapsedBefore, DateTimeOffset now, CancellationToken ct)
    {
        var last = await db.PlacedOrders.AsNoTracking().Where(o => o.CustomerId == customer.Id && o.Counts).OrderByDescending(o => o.PlacedAt).FirstOrDefaultAsync(ct);
        if (last is null)
        {
            return;
        }

        var held = await db.HeldLifecycleAsync(customer.Id, [customer.Id], ct);
        var from = customer.Lifecycle;
        var next = LifecycleRule.Next(from, LifecycleRule.SaidAt(held?.Cause, held?.At), last.PlacedAt, lapsedBefore);
        if (next != from)
        {
            customer.SettleLifecycle(next);
            customer.LifecycleChanges.Add(LifecycleChange.To(customer, from, next == Lifecycle.Lapsed ? LifecycleCause.NoOrder : LifecycleCause.Order, db.Actor(), now, last));
        }
    }

    /// <summary>The identity event and the audit entry of a customer whose lifecycle moved.</summary>
    public static void PublishLifecycle(this ContactsDb db, Customer customer, Lifecycle from)
    {
        db.Audit("updated", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(new { Lifecycle = from }, new { customer.Lifecycle }));
        db.Publish(customer, new CustomerUpdated(customer.Snapshot(), ["lifecycle"]));
    }

    private sealed record HeldState([property: Column("id")] Guid Id, [property: Column("to_state")] string ToState);
}
