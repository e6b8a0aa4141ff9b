using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Imports;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Npgsql;

namespace Crm.Contacts.Features.Imports;

/// <summary>What an import tells the other services: few events with many customers each.</summary>
internal static class ImportEvents
{
    private const int MostCustomers = 250;

    /// <summary>Characters of custom fields; the rest of a customer has a bound.</summary>
    private const int MostText = 500_000;

    /// <summary>So many events of imports may wait before the next batch: another's event waits behind no more than these.</summary>
    private const int MostWaiting = 32;

    private static readonly string Name = EventCatalog.Of(typeof(CustomersImported)).Name;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    /// <summary>Adds the events to the outbox, in the transaction at hand.</summary>
    public static Task PublishAsync(this ContactsDb db, Import import, IEnumerable<Customer> created, IEnumerable<Customer> changed, CancellationToken ct)
    {
        var id = Contracts.Ids.Import.Format(import.Id);
        return db.PublishAsync(
            Parts(created).Select(c => new CustomersImported(id, c, [])).Concat(Parts(changed).Select(c => new CustomersImported(id, [], c)))
                .Select(e => ((IAggregate)new Part(), (object)e)), ct);
    }

    /// <summary>
    /// Returns when the relay is nearly done with what imports have published. So an import goes no faster than its events
    /// leave, and stands still while the broker is away.
    /// </summary>
    public static async Task WaitForRelayAsync(NpgsqlDataSource dataSource, CancellationToken ct)
    {
        await using var waiting = dataSource.CreateCommand("SELECT count(*) FROM (SELECT FROM outbox WHERE type = @name AND next_at <= now() LIMIT @most) AS waiting");
        waiting.Parameters.Add(new NpgsqlParameter<string>("name", Name));
        waiting.Parameters.Add(new NpgsqlParameter<int>("most", MostWaiting));
        while (await waiting.ExecuteScalarAsync(ct) is (long)MostWaiting)
        {
            await Task.Delay(Look, ct);
        }
    }

    private static IEnumerable<List<CustomerSnapshot>> Parts(IEnumerable<Customer> customers)
    {
        var (part, text) = (new List<CustomerSnapshot>(), 0);
        foreach (var customer in customers)
        {
            var size = customer.Attributes.Sum(a => a.Key.Length + a.Value.GetRawText().Length);
            if (part.Count == MostCustomers || (part.Count > 0 && text + size > MostText))
            {
                yield return part;
                (part, text) = ([], 0);
            }

            part.Add(customer.Snapshot());
            text += size;
        }

        if (part.Count > 0)
        {
            yield return part;
        }
    }

    /// <summary>Snapshots carry their versions, so that the events need no order.</summary>
    private sealed class Part : IAggregate
    {
        public Guid Id { get; } = Guid.CreateVersion7();
        public long EventSequence { get; set; }
    }
}
