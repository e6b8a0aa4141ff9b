using System.ComponentModel.DataAnnotations.Schema;
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
        var (now, counts) = (clock.GetUtcNow(), recorded.Status is not ("cancelled" or "returned"));
        var buyers = await db.Database.SqlQuery<Buyer>($"""
            SELECT id, lifecycle, held, held_cause, held_at, last_order_at
            FROM follow_order({Ids.Order.Parse(recorded.Id)}, {recorded.Version}, {Ids.Customer.Parse(recorded.OriginCustomerId ?? recorded.CustomerId)},
                {recorded.PlacedAt.ToUniversalTime()}, {counts}, {recorded.Total.AmountMinor}, {recorded.Total.Currency}, {now})
            """).ToListAsync(ct);
        // Few orders move anybody, and only those take the whole customer.
        Guid[] moving = [.. buyers.Where(b => b.Moves(options.Value.LapsedBefore(now))).Select(b => b.Id)];
        if (moving.Length == 0)
        {
            return;
        }

        foreach (var customer in await db.Customers.Where(c => moving.Contains(c.Id)).OrderBy(c => c.Id).ToListAsync(ct))
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

        var next = LifecycleRule.Next(present, LifecycleRule.SaidAt(held?.Cause, held?.At), last.PlacedAt, options.Value.LapsedBefore(now));
        if (next != present)
        {
            db.MoveLifecycle(customer, next, next == Lifecycle.Lapsed ? LifecycleCause.NoOrder : LifecycleCause.Order, last, now);
        }
    }

    /// <param name="Held">What the steps of the lifecycle come to; null without any.</param>
    private sealed record Buyer(
        [property: Column("id")] Guid Id,
        [property: Column("lifecycle")] string Lifecycle,
        [property: Column("held")] string? Held,
        [property: Column("held_cause")] string? HeldCause,
        [property: Column("held_at")] DateTimeOffset? HeldAt,
        [property: Column("last_order_at")] DateTimeOffset? LastOrderAt)
    {
        public bool Moves(DateTimeOffset lapsedBefore)
        {
            var present = EnumWords<Lifecycle>.Parse(Held ?? Lifecycle);
            return present != EnumWords<Lifecycle>.Parse(Lifecycle)
                || (LastOrderAt is { } last && LifecycleRule.Next(present, LifecycleRule.SaidAt(HeldCause is null ? null : EnumWords<LifecycleCause>.Parse(HeldCause), HeldAt), last, lapsedBefore) != present);
        }
    }
}
