using Crm.Contracts;
using Crm.Contracts.Events;
using MassTransit;
using Microsoft.Extensions.Logging;

namespace Crm.CustomerCopy;

/// <summary>The same as <see cref="KeepCustomerCopy"/> for what imports and their undos do with many customers at once.</summary>
public sealed partial class KeepImportedCustomers(CustomerCopyDb db, ILogger<KeepImportedCustomers> logger) : IConsumer<CustomersImported>
{
    private const string Removed = "removed";

    public async Task Consume(ConsumeContext<CustomersImported> context)
    {
        var customers = context.Message.Registered.Concat(context.Message.Updated).ToLookup(c => c.State == Removed);
        // Before any row is locked: it waits for merges, and whoever makes one locks rows afterwards.
        if (customers.Contains(true))
        {
            foreach (var owner in await db.RemoveAsync([.. customers[true]], context.CancellationToken))
            {
                LogRowsOfRemoved(Ids.Customer.Format(owner), context.Message.ImportId);
            }
        }

        if (customers.Contains(false))
        {
            await db.StoreAsync([.. customers[false]], context.CancellationToken);
        }
    }

    [LoggerMessage(LogLevel.Warning, "{CustomerId} was removed with its import {ImportId} while rows of it were written here; they stay, and an erasure of it takes them")]
    private partial void LogRowsOfRemoved(string customerId, string importId);
}
