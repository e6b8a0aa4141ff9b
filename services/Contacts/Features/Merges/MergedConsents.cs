using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

internal static class MergedConsents
{
    /// <summary>
    /// Makes the current consents of these customers anew from the ledger and their merges, and publishes those that
    /// changed. Call it inside a transaction, after the customers were saved; save afterwards.
    /// </summary>
    public static async Task ReplayConsentsAsync(this ContactsDb db, Guid[] customers, DateTimeOffset now, CancellationToken ct)
    {
        var group = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below({customers}) AS id").ToListAsync(ct);
        var layers = await db.Customers.Where(c => group.Contains(c.Id) && c.Layers != null).Select(c => new { c.Id, c.Layers }).ToDictionaryAsync(c => c.Id, c => c.Layers, ct);
        var statements = await db.Consents.AsNoTracking().Where(c => group.Contains(c.OriginCustomerId)).ToListAsync(ct);
        var current = await db.CurrentConsents.Where(c => customers.Contains(c.CustomerId)).ToListAsync(ct);
        var about = statements.GroupBy(s => (s.Channel, s.Purpose)).ToDictionary(g => g.Key, g => g.ToLookup(s => s.OriginCustomerId));
        var nothing = Enumerable.Empty<Consent>().ToLookup(s => s.OriginCustomerId);
        foreach (var customer in customers)
        {
            var mine = current.Where(c => c.CustomerId == customer).ToDictionary(c => (c.Channel, c.Purpose));
            foreach (var key in about.Keys.Union(mine.Keys).Order())
            {
                var held = ConsentReplay.Of(customer, id => layers.GetValueOrDefault(id), about.GetValueOrDefault(key, nothing));
                if (mine.TryGetValue(key, out var row))
                {
                    if (row.Become(held, now))
                    {
                        db.Publish(row, row.Recorded());
                    }
                }
                else if (held is not null)
                {
                    var first = CurrentConsent.Of(customer, key.Channel, key.Purpose, held, now);
                    db.CurrentConsents.Add(first);
                    db.Publish(first, first.Recorded());
                }
            }
        }
    }
}
