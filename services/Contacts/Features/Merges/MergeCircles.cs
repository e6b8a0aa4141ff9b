using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

/// <summary>
/// Circles of organisations that a merge would close: where one of the merged belongs to another one over organisations
/// between them, from today on. Links count as when a relationship is recorded, so a parent that is not shown beside the
/// survivor's own counts too. What one of the merged is to another directly closes none: it is hidden until the undo.
/// </summary>
internal static class MergeCircles
{
    /// <param name="members">All who are merged, the survivor too.</param>
    public static async Task<List<CircleView>> FindAsync(ContactsDb db, Guid[] members, DateOnly today, CancellationToken ct) => (await db.Database.SqlQuery<Circle>($"""
        WITH RECURSIVE above (member, id, since, until) AS (
            SELECT r.from_id, r.to_id, greatest({today}::date, r.starts_on), r.ends_on
            FROM relationships r
            WHERE r.from_id = ANY ({members}) AND r.to_id <> ALL ({members})
              AND r.type IN ('subsidiary', 'branch', 'location') AND (r.ends_on IS NULL OR r.ends_on >= {today}::date)
            UNION
            SELECT a.member, r.to_id, greatest(a.since, r.starts_on), least(a.until, r.ends_on)
            FROM above a JOIN relationships r ON r.from_id = a.id
            WHERE a.id <> ALL ({members}) AND r.type IN ('subsidiary', 'branch', 'location') AND r.from_id <> r.to_id
              AND (r.ends_on IS NULL OR r.ends_on >= a.since) AND (r.starts_on IS NULL OR a.until IS NULL OR r.starts_on <= a.until))
        SELECT member, id AS above, min(since) AS since FROM above WHERE id = ANY ({members}) AND id <> member GROUP BY member, id ORDER BY member, id
        """).ToListAsync(ct)).ConvertAll(c => new CircleView(Ids.Customer.Format(c.Member), Ids.Customer.Format(c.Above), c.Since));

    private sealed record Circle([property: Column("member")] Guid Member, [property: Column("above")] Guid Above, [property: Column("since")] DateOnly Since);
}

/// <summary>A circle of organisations that a merge would close; those between the two are in the hierarchy of the first.</summary>
/// <param name="CustomerId">One of the merged.</param>
/// <param name="BelongsToId">Another one of them, to which it belongs over others.</param>
/// <param name="StartsOn">The first day on which it would be closed, today or later.</param>
public sealed record CircleView(string CustomerId, string BelongsToId, DateOnly StartsOn);
