using Crm.Contracts.Events;
using MassTransit;

namespace Crm.CustomerCopy;

/// <summary>Keeps the copy of identity and consent up to date; only a newer version has an effect.</summary>
public sealed class KeepCustomerCopy(CustomerCopyDb db) : IConsumer<CustomerRegistered>, IConsumer<CustomerUpdated>, IConsumer<ConsentRecorded>
{
    public Task Consume(ConsumeContext<CustomerRegistered> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<CustomerUpdated> context) => db.StoreAsync([context.Message.Customer], context.CancellationToken);

    public Task Consume(ConsumeContext<ConsentRecorded> context) => db.StoreAsync([context.Message], context.CancellationToken);
}
