using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Hosting.Messaging;

/// <summary>
/// One transaction for the inbox row and the consumer's effect. A message that has had its effect is
/// acknowledged without reaching the consumer.
/// </summary>
internal sealed class InboxFilter<TMessage>(CrmDbContext db) : IFilter<ConsumeContext<TMessage>> where TMessage : class
{
    private static readonly System.Diagnostics.Metrics.Counter<long> Duplicates =
        Telemetry.Meter.CreateCounter<long>("crm.inbox.duplicates", description: "Messages that had already had their effect");

    public async Task Send(ConsumeContext<TMessage> context, IPipe<ConsumeContext<TMessage>> next)
    {
        var consumer = ReceiveFilter.QueueOf(context.ReceiveContext);
        var messageId = context.MessageId ?? throw new InvalidOperationException("A message without an id cannot be received once.");
        await using var transaction = await db.Database.BeginTransactionAsync(context.CancellationToken);
        var inserted = await db.Database.ExecuteSqlAsync(
            $"INSERT INTO inbox (consumer, message_id) VALUES ({consumer}, {messageId}) ON CONFLICT DO NOTHING", context.CancellationToken);
        if (inserted == 0)
        {
            Duplicates.Add(1, new KeyValuePair<string, object?>("consumer", consumer));
            // Otherwise MassTransit takes it for a message that nobody wanted, and moves it to <queue>_skipped.
            await context.NotifyConsumed(context, TimeSpan.Zero, "inbox");
            return;
        }

        await next.Send(context);
        await transaction.CommitAsync(context.CancellationToken);
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("inbox");
}
