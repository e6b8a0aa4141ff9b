using Crm.Contracts;
using Crm.Contracts.Events;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Consumers;

/// <summary>Enters a mail that asks for a confirmation into the send ledger: one a pending consent, whatever comes twice.</summary>
internal sealed class AskForConfirmations(CampaignsDb db, TimeProvider clock) : IConsumer<ConsentConfirmationRequested>
{
    public async Task Consume(ConsumeContext<ConsentConfirmationRequested> context)
    {
        var asked = context.Message;
        var now = clock.GetUtcNow();
        var origin = Ids.Customer.Parse(asked.CustomerId);
        if (await db.HoldCustomerAsync(origin, context.CancellationToken) is not { } owner)
        {
            return;
        }

        await db.Database.ExecuteSqlAsync($"""
            INSERT INTO messages (id, kind, confirms_id, customer_id, origin_customer_id, channel, purpose, to_address, wording, expires_at, status, next_at, created_at)
            VALUES ({Guid.CreateVersion7(now)}, 'confirmation', {Ids.Consent.Parse(asked.ConsentId)}, {owner}, {origin}, {asked.Channel},
                    {asked.Purpose}, {asked.Address}, {asked.Wording}, {asked.ExpiresAt.ToUniversalTime()}, 'pending', now(), {now})
            ON CONFLICT (confirms_id) WHERE confirms_id IS NOT NULL DO NOTHING
            """, context.CancellationToken);
    }
}
