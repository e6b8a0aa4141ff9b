using Crm.Contracts.Events;
using Crm.Interactions.Domain;
using MassTransit;

namespace Crm.Interactions.Consumers;

/// <summary>Puts what happens in the other services on the customer's timeline; only a newer version has an effect.</summary>
internal sealed class KeepTimeline(InteractionsDb db) :
    IConsumer<OrderRecorded>, IConsumer<InvoiceRecorded>, IConsumer<PaymentRecorded>, IConsumer<CaseChanged>, IConsumer<MessageSent>
{
    public Task Consume(ConsumeContext<OrderRecorded> context) => db.StoreFromEventAsync(TimelineEntry.Of(context.Message), context.CancellationToken);

    public Task Consume(ConsumeContext<InvoiceRecorded> context) => db.StoreFromEventAsync(TimelineEntry.Of(context.Message), context.CancellationToken);

    public Task Consume(ConsumeContext<PaymentRecorded> context) => db.StoreFromEventAsync(TimelineEntry.Of(context.Message), context.CancellationToken);

    public Task Consume(ConsumeContext<CaseChanged> context) => db.StoreFromEventAsync(TimelineEntry.Of(context.Message), context.CancellationToken);

    public Task Consume(ConsumeContext<MessageSent> context) => db.StoreFromEventAsync(TimelineEntry.Of(context.Message), context.CancellationToken);
}
