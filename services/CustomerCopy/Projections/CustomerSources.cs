using Crm.Contracts;
using Crm.Contracts.Contacts.V1;
using Crm.Contracts.Events;
using Grpc.Core;

namespace Crm.CustomerCopy.Projections;

/// <summary>
/// Customers with their consents. Contacts deletes no customer: of one that was erased or removed it keeps that it was so. Of a
/// consent it keeps what was said last, but for who was erased: what those had is removed.
/// </summary>
internal sealed class CustomersSource(CustomerCopyDb db, Contacts.ContactsClient contacts, TimeProvider clock) : ProjectionSource("contacts.customers")
{
    public override async Task<ProjectionPage> ReadAsync(string after, int limit, CancellationToken ct)
    {
        using var stream = contacts.StreamCustomers(new StreamCustomersRequest { After = after, Limit = limit }, deadline: Patience(clock), cancellationToken: ct);
        var records = new List<CustomerRecord>(limit);
        while (records.Count < limit && await stream.ResponseStream.MoveNext(ct))
        {
            records.Add(stream.ResponseStream.Current);
        }

        return new(
            records is [.., var end] ? end.Customer.Id : after, records.Count < limit, records.Count, await db.EstimateRowsAsync("customers", ct),
            token => StoreAsync(records, token));
    }

    private async Task<Repairs> StoreAsync(List<CustomerRecord> records, CancellationToken ct)
    {
        if (records.Count == 0)
        {
            return new(0, 0);
        }

        var customers = records.ConvertAll(r => r.Customer.ToSnapshot());
        var repaired = await db.RepairAsync(customers, ct) + await db.RepairAsync([.. records.SelectMany(r => r.Consents).Select(FillCustomerCopy.ToEvent)], ct);
        return new(repaired, await db.RemoveOfErasedAsync([.. customers.Where(c => c.State == "erased").Select(c => Ids.Customer.Parse(c.Id))], ct));
    }
}

/// <summary>The few tiers, at once.</summary>
internal sealed class TiersSource(CustomerCopyDb db, Contacts.ContactsClient contacts) : ProjectionSource("contacts.tiers")
{
    public override async Task<ProjectionPage> ReadAsync(string after, int limit, CancellationToken ct)
    {
        // Here first: what Contacts tells afterwards has all of them that there are.
        var known = await db.ReadTierNamesAsync(ct);
        List<TierChanged> tiers = [.. (await contacts.ListTiersAsync(new ListTiersRequest(), cancellationToken: ct)).Tiers.Select(t => t.ToEvent())];
        string[] gone = [.. known.Except(tiers.Select(t => t.Tier), StringComparer.Ordinal)];
        return new("", Last: true, tiers.Count, tiers.Count, async token => new(await db.RepairAsync(tiers, token), await db.RemoveTiersAsync(gone, token)));
    }
}

/// <summary>Grants between departments, at once; of those that were revoked Contacts says nothing.</summary>
internal sealed class GrantsSource(CustomerCopyDb db, Contacts.ContactsClient contacts, TimeProvider clock) : ProjectionSource("contacts.grants")
{
    public override async Task<ProjectionPage> ReadAsync(string after, int limit, CancellationToken ct)
    {
        // As with tiers.
        var known = await db.ReadGrantIdsAsync(ct);
        var grants = new List<GrantChanged>();
        using var stream = contacts.StreamGrants(new StreamGrantsRequest(), deadline: Patience(clock), cancellationToken: ct);
        await foreach (var grant in stream.ResponseStream.ReadAllAsync(ct))
        {
            grants.Add(grant.ToEvent());
        }

        Guid[] gone = [.. known.Except(grants.Select(g => Ids.Grant.Parse(g.Id)))];
        return new("", Last: true, grants.Count, grants.Count, async token => new(await db.RepairAsync(grants, token), await db.EndGrantsAsync(gone, token)));
    }
}
