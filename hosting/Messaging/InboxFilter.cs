using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Hosting.Messaging;

/// <summary>
/// One transaction for the inbox row and the consumer's effect. A message that has had its effect is
/// acknowledged without reaching the consumer.
/// </summary>
internal sealed class InboxFilter<TMessage>(CrmDbContext db, InboxBatches<TMessage> batches) : IFilter<ConsumeContext<TMessage>> where TMessage : class
{
    public async Task Send(ConsumeContext<TMessage> context, IPipe<ConsumeContext<TMessage>> next)
    {
        var consumer = ReceiveFilter.QueueOf(context.ReceiveContext);
        var messageId = context.MessageId ?? throw new InvalidOperationException("A message without an id cannot be received once.");
        if (await batches.TryConsumeAsync(consumer, messageId, context.Message))
        {
            await AcknowledgeAsync(context);
            return;
        }

        await using var transaction = await db.Database.BeginTransactionAsync(context.CancellationToken);
        var inserted = await db.Database.ExecuteSqlAsync(
            $"INSERT INTO inbox (consumer, message_id) VALUES ({consumer}, {messageId}) ON CONFLICT DO NOTHING", context.CancellationToken);
        if (inserted == 0)
        {
            InboxMetrics.Duplicates.Add(1, new KeyValuePair<string, object?>("consumer", consumer));
            await AcknowledgeAsync(context);
            return;
        }

        await next.Send(context);
        await transaction.CommitAsync(context.CancellationToken);
    }

    /// <summary>Otherwise MassTransit takes it for a message that nobody wanted, and moves it to its queue of skipped ones.</summary>
    private static Task AcknowledgeAsync(ConsumeContext<TMessage> context) => context.NotifyConsumed(context, TimeSpan.Zero, "inbox");

    public void Probe(ProbeContext context) => context.CreateFilterScope("inbox");
}
