using Crm.Contracts.Events;
using MassTransit;

namespace Crm.CustomerCopy;

/// <summary>The same as <see cref="KeepCustomerCopy"/> for what imports do with many customers at once.</summary>
public sealed class KeepImportedCustomers(CustomerCopyDb db) : IConsumer<CustomersImported>
{
    public Task Consume(ConsumeContext<CustomersImported> context) =>
        db.StoreAsync([.. context.Message.Registered, .. context.Message.Updated], context.CancellationToken);
}
