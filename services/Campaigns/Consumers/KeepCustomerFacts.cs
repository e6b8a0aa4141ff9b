using Crm.Contracts;
using Crm.Contracts.Events;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Consumers;

/// <summary>
/// Keeps what segments and suppression ask about orders, cases and interactions. Each event carries the
/// whole row; one that is not newer than the stored one has no effect, so order and duplicates do not matter;
/// nor has one about somebody who was erased.
/// </summary>
internal sealed class KeepCustomerFacts(CampaignsDb db) : IConsumer<OrderRecorded>, IConsumer<CaseChanged>, IConsumer<InteractionLogged>
{
    public async Task Consume(ConsumeContext<OrderRecorded> context)
    {
        var order = context.Message;
        var origin = Ids.Customer.Parse(order.OriginCustomerId ?? order.CustomerId);
        if (await db.HoldCustomerAsync(origin, context.CancellationToken) is not { } owner)
        {
            return;
        }

        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO orders (id, version, customer_id, origin_customer_id, placed_at, amount_minor, currency, status)
            VALUES ({Ids.Order.Parse(order.Id)}, {order.Version}, {owner}, {origin}, {order.PlacedAt.ToUniversalTime()},
                    {order.Total.AmountMinor}, {order.Total.Currency}, {order.Status})
            ON CONFLICT (id) DO UPDATE SET
                version = excluded.version, customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id, placed_at = excluded.placed_at,
                amount_minor = excluded.amount_minor, currency = excluded.currency, status = excluded.status
            WHERE orders.version < excluded.version
            """, context.CancellationToken);
    }

    public async Task Consume(ConsumeContext<CaseChanged> context)
    {
        var changed = context.Message;
        var origin = Ids.Customer.Parse(changed.OriginCustomerId ?? changed.CustomerId);
        if (await db.HoldCustomerAsync(origin, context.CancellationToken) is not { } owner)
        {
            return;
        }

        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO cases (id, version, customer_id, origin_customer_id, type, status)
            VALUES ({Ids.Case.Parse(changed.Id)}, {changed.Version}, {owner}, {origin}, {changed.Type}, {changed.Status})
            ON CONFLICT (id) DO UPDATE SET
                version = excluded.version, customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id, type = excluded.type, status = excluded.status
            WHERE cases.version < excluded.version
            """, context.CancellationToken);
    }

    public async Task Consume(ConsumeContext<InteractionLogged> context)
    {
        var logged = context.Message;
        var origin = Ids.Customer.Parse(logged.OriginCustomerId ?? logged.CustomerId);
        if (await db.HoldCustomerAsync(origin, context.CancellationToken) is not { } owner)
        {
            return;
        }

        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO interactions (id, version, customer_id, origin_customer_id, started_at)
            VALUES ({Ids.Interaction.Parse(logged.Id)}, {logged.Version}, {owner}, {origin}, {logged.StartedAt.ToUniversalTime()})
            ON CONFLICT (id) DO UPDATE SET
                version = excluded.version, customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id, started_at = excluded.started_at
            WHERE interactions.version < excluded.version
            """, context.CancellationToken);
    }
}
