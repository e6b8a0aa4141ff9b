using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contacts.Domain;
using Crm.Hosting.Audit;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.History;

/// <summary>
/// When customers had values of somebody whom the caller does not see, with whom they were one, directly or over others: at the
/// merge, at its undo and between them.
/// </summary>
internal sealed class HiddenValues
{
    private readonly ILookup<Guid, While> _whiles;

    private HiddenValues(IEnumerable<While> whiles) => _whiles = whiles.Distinct().ToLookup(w => w.Customer);

    public static async Task<HiddenValues> FindAsync(ContactsDb db, Guid[] customers, CancellationToken ct)
    {
        if (CallerRights.Current.AllCustomers)
        {
            return new([]);
        }

        var all = await db.Database.SqlQuery<Merged>($"""
            SELECT c.id AS customer_id, m.other AS other_id, m.since, m.undo_asked_at
            FROM unnest({customers}) AS c (id) CROSS JOIN LATERAL merged_with(c.id) AS m
            """).ToListAsync(ct);
        var seen = await db.FindSeenAsync([.. all.Select(m => m.Other).Distinct()], ct);
        var unseen = all.Where(m => !seen.Contains(m.Other)).ToList();
        if (unseen.Count == 0)
        {
            return new([]);
        }

        var concerned = unseen.Select(m => m.Customer).Distinct().ToList();
        var steps = (await db.AuditEntries
            .Where(e => e.RecordType == Customer.RecordType && concerned.Contains(e.RecordId) && (e.Action == "merged" || e.Action == "unmerged"))
            .Select(e => new { e.RecordId, e.Action, e.At }).ToListAsync(ct)).ToLookup(s => (s.RecordId, s.Action), s => s.At);
        return new(unseen.Select(m => new While(m.Customer, m.Since, EndOf(m))));

        // Its entry is the last with values of both; one that was not undone made them one customer, whom the caller sees.
        DateTimeOffset EndOf(Merged merged)
        {
            var (action, from) = merged.UndoAskedAt is { } undone ? ("unmerged", undone) : ("merged", merged.Since);
            return steps[(merged.Customer, action)].Where(at => at >= from).DefaultIfEmpty(from).Min();
        }
    }

    /// <summary>What was written of the customer then has such values.</summary>
    public bool Cover(Guid customer, DateTimeOffset at) => _whiles[customer].Any(w => at >= w.Since && at <= w.Until);

    /// <summary>The customer's entries that have none.</summary>
    public IQueryable<AuditEntry> Without(Guid customer, IQueryable<AuditEntry> entries) =>
        _whiles[customer].Aggregate(entries, (shown, hidden) => shown.Where(e => e.At < hidden.Since || e.At > hidden.Until));

    private sealed record While(Guid Customer, DateTimeOffset Since, DateTimeOffset Until);

    /// <summary>A customer and another one whose values it had.</summary>
    /// <param name="UndoAskedAt">Null while they are one.</param>
    private sealed record Merged(
        [property: Column("customer_id")] Guid Customer,
        [property: Column("other_id")] Guid Other,
        [property: Column("since")] DateTimeOffset Since,
        [property: Column("undo_asked_at")] DateTimeOffset? UndoAskedAt);
}
