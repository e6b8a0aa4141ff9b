using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

internal static class MergedConsents
{
    /// <summary>
    /// Nobody can know whom a refusal or a pause concerned that was said while the customers were one, so it is entered into
    /// the ledger of each restored one whose own word is less strict. What was granted stays with the survivor. Call it
    /// after the rows were given back, and replay afterwards.
    /// </summary>
    /// <param name="survivors">Under whom statements were recorded meanwhile, and since when.</param>
    public static async Task<List<CarriedConsent>> CarryRefusalsAsync(
        this ContactsDb db, Guid[] restored, Guid present, Guid[] survivors, DateTimeOffset[] since, string actor, DateTimeOffset now, CancellationToken ct)
    {
        var found = await db.Database.SqlQuery<Refusal>($"""
            SELECT DISTINCT ON (r.id, c.channel, c.purpose, c.state = 'paused') r.id AS customer_id, c.id AS consent_id
            FROM unnest({survivors}, {since}) AS s(id, since)
            JOIN consents c ON c.customer_id = {present} AND c.origin_customer_id = s.id AND c.recorded_at >= s.since
            CROSS JOIN unnest({restored}) AS r(id)
            LEFT JOIN consent_states own ON own.customer_id = r.id AND own.channel = c.channel AND own.purpose = c.purpose
            WHERE CASE
                WHEN c.state = 'paused' THEN c.paused_until > greatest({now}, own.paused_until)
                WHEN c.state IN ('denied', 'withdrawn') THEN coalesce(own.state, '') NOT IN ('denied', 'withdrawn')
                ELSE false END
            ORDER BY r.id, c.channel, c.purpose, c.state = 'paused', c.paused_until DESC, c.at DESC, c.sequence DESC
            """).ToListAsync(ct);
        var ids = found.Select(f => f.ConsentId).Distinct().ToList();
        var statements = await db.Consents.AsNoTracking().Where(c => ids.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        var carried = found.ConvertAll(f => statements[f.ConsentId].CarryTo(f.CustomerId, actor, now));
        db.Consents.AddRange(carried);
        carried.ForEach(c => db.AuditRow("consent", c));
        await db.SaveChangesAsync(ct);
        return carried.ConvertAll(c => new CarriedConsent(Ids.Customer.Format(c.CustomerId), Ids.Consent.Format(c.Id), Ids.Consent.Format(c.CarriedFrom!.Value)));
    }

    /// <summary>
    /// Makes the current consents of these customers anew from the ledger and their merges, and publishes those that
    /// changed. Call it inside a transaction, after the customers were saved; save afterwards.
    /// </summary>
    /// <param name="only">What the caller has locked, unless it has the customers to itself: what is read of all else may be old when it is saved.</param>
    public static async Task ReplayConsentsAsync(
        this ContactsDb db, Guid[] customers, DateTimeOffset now, CancellationToken ct, (ConsentChannel Channel, string Purpose)? only = null)
    {
        var group = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below({customers}) AS id").ToListAsync(ct);
        // Of all of them, seen by the caller or not: a refusal holds.
        var layers = await db.Customers.IgnoreQueryFilters().Where(c => group.Contains(c.Id) && c.Layers != null).Select(c => new { c.Id, c.Layers }).ToDictionaryAsync(c => c.Id, c => c.Layers, ct);
        var ledger = db.Consents.AsNoTracking().Where(c => group.Contains(c.OriginCustomerId));
        var states = db.CurrentConsents.Where(c => customers.Contains(c.CustomerId));
        if (only is var (channel, purpose))
        {
            ledger = ledger.Where(c => c.Channel == channel && c.Purpose == purpose);
            states = states.Where(c => c.Channel == channel && c.Purpose == purpose);
        }

        var statements = await ledger.ToListAsync(ct);
        var current = await states.ToListAsync(ct);
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

    private sealed record Refusal([property: Column("customer_id")] Guid CustomerId, [property: Column("consent_id")] Guid ConsentId);
}
