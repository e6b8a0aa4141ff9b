using Crm.Contacts.Domain;
using Crm.Contacts.Features;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Consumers;

/// <summary>Moves the lifecycle of whoever buys, and back when the order is cancelled, returned or another customer's.</summary>
internal sealed class FollowOrders(ContactsDb db, IOptions<LifecycleOptions> options, TimeProvider clock) : IConsumer<OrderRecorded>
{
    public async Task Consume(ConsumeContext<OrderRecorded> context)
    {
        var (recorded, ct) = (context.Message, context.CancellationToken);
        var (id, origin) = (Ids.Order.Parse(recorded.Id), Ids.Customer.Parse(recorded.OriginCustomerId ?? recorded.CustomerId));
        var owner = await db.HoldRootAsync(origin, ct);
        var previous = await db.PlacedOrders.Where(o => o.Id == id).Select(o => (Guid?)o.CustomerId).FirstOrDefaultAsync(ct);
        Guid[] concerned = previous is { } was && was != owner ? [was, owner] : [owner];
        var customers = await db.Customers.ForUpdate($"id = ANY ({concerned}) ORDER BY id").ToListAsync(ct);
        // Of one in the recycle bin too: it comes back as if it had never been there.
        if (customers.Find(c => c.Id == owner) is not { State: CustomerState.Active or CustomerState.Deleted })
        {
            return;
        }

        var counts = recorded.Status is not ("cancelled" or "returned");
        var stored = await db.Database.ExecuteSqlAsync($"""
            INSERT INTO placed_orders AS o (id, version, customer_id, origin_customer_id, placed_at, counts, total_minor, currency)
            VALUES ({id}, {recorded.Version}, {owner}, {origin}, {recorded.PlacedAt.ToUniversalTime()}, {counts}, {recorded.Total.AmountMinor}, {recorded.Total.Currency})
            ON CONFLICT (id) DO UPDATE SET version = excluded.version, customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id,
                placed_at = excluded.placed_at, counts = excluded.counts, total_minor = excluded.total_minor, currency = excluded.currency
            WHERE o.version < excluded.version OR (o.version = excluded.version AND o.currency IS NULL)
            """, ct);
        if (stored == 0)
        {
            return;
        }

        var now = clock.GetUtcNow();
        await db.Database.ExecuteSqlAsync($"""
            UPDATE lifecycle_changes SET voided_at = {now} WHERE order_id = {id} AND voided_at IS NULL AND (origin_customer_id <> {origin} OR NOT {counts})
            """, ct);
        foreach (var customer in customers.Where(c => c.State is CustomerState.Active or CustomerState.Deleted))
        {
            await ApplyRuleAsync(customer, now, ct);
        }

        await db.SaveChangesAsync(ct);
    }

    private async Task ApplyRuleAsync(Customer customer, DateTimeOffset now, CancellationToken ct)
    {
        var held = await db.HeldLifecycleAsync(customer.Id, [customer.Id], ct);
        var (present, before) = (held?.ToState ?? customer.Lifecycle, customer.Lifecycle);
        if (customer.Move(present, now))
        {
            db.PublishLifecycle(customer, before);
        }

        var last = await db.PlacedOrders.AsNoTracking().Where(o => o.CustomerId == customer.Id && o.Counts).OrderByDescending(o => o.PlacedAt).FirstOrDefaultAsync(ct);
        if (last is null)
        {
            return;
        }

        DateTimeOffset? saidAt = held?.Cause is LifecycleCause.Edited or LifecycleCause.Merge ? held.At : null;
        var next = LifecycleRule.Next(present, saidAt, last.PlacedAt, options.Value.LapsedBefore(now));
        if (next != present)
        {
            db.MoveLifecycle(customer, next, next == Lifecycle.Lapsed ? LifecycleCause.NoOrder : LifecycleCause.Order, last, now);
        }
    }
}
