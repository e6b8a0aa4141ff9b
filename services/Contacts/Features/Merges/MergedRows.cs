using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

/// <summary>
/// Contacts' own rows that follow their customers through merges: the owner is where the merges of the origin, under whom
/// the row was recorded, lead. So an undo, in any order, gives each customer back what is its own.
/// </summary>
internal static class MergedRows
{
    /// <param name="Row">Null for what only follows from other rows and is not counted.</param>
    /// <param name="Alike">When a row <c>t</c> and another one <c>o</c> of one customer collide; readers show one of them then.</param>
    /// <param name="GivenBack">What else is set on a row <c>t</c> that is given back.</param>
    private sealed record Owned(
        string Table, NamedRow? Row, string Owner = "customer_id", string Origin = "origin_customer_id", string Alike = "false", string GivenBack = "");

    /// <param name="Type">As the row is named to people.</param>
    /// <param name="RecordedAt">The column that says when the row was recorded.</param>
    private sealed record NamedRow(string Type, IdKind Ids, string RecordedAt);

    private const string BothHold = """
        t.from_id <> t.to_id AND o.from_id <> o.to_id
        AND coalesce(t.ends_on, 'infinity') >= greatest(current_date, o.starts_on) AND coalesce(o.ends_on, 'infinity') >= greatest(current_date, t.starts_on)
        """;

    private const string SaySame = "o.type = t.type AND o.role IS NOT DISTINCT FROM t.role AND o.purchase IS NOT DISTINCT FROM t.purchase";

    private const string InHierarchy = "IN ('subsidiary', 'branch', 'location')";

    private static readonly Owned[] All =
    [
        new("consents", new("consent", Ids.Consent, "recorded_at")),
        new("lifecycle_changes", null),
        new("placed_orders", null),
        new("account_managers", new("account_manager", Ids.AccountManager, "created_at"),
            Alike: "coalesce(t.ends_at, 'infinity') > greatest(now(), o.starts_at) AND coalesce(o.ends_at, 'infinity') > greatest(now(), t.starts_at)",
            GivenBack: ", ends_at = CASE WHEN t.kept_ends_at = 'infinity' THEN NULL ELSE coalesce(t.kept_ends_at, t.ends_at) END, kept_ends_at = NULL"),
        new("change_requests", new("change_request", Ids.ChangeRequest, "requested_at")),
        new("relationships", new("relationship", Ids.Relationship, "created_at"), "from_id", "origin_from_id",
            $"{BothHold} AND (t.type {InHierarchy} AND o.type {InHierarchy} OR o.to_id = t.to_id AND {SaySame})"),
        new("relationships", new("relationship", Ids.Relationship, "created_at"), "to_id", "origin_to_id",
            $"{BothHold} AND o.from_id = t.from_id AND {SaySame}"),
    ];

#pragma warning disable EF1002 // Names of tables and columns are our own.

    /// <summary>How many rows a merge would move, and of how many there would be a like one, by table.</summary>
    public static async Task<List<RowCountView>> CountAsync(ContactsDb db, Guid[] absorbed, Guid survivor, CancellationToken ct)
    {
        var counts = new List<RowCountView>();
        foreach (var owned in All.Where(c => c.Row is not null))
        {
            var counted = await db.Database.SqlQueryRaw<Counted>($$"""
                SELECT count(*) AS moved, count(*) FILTER (WHERE EXISTS (
                    SELECT FROM {{owned.Table}} o
                    WHERE (o.{{owned.Owner}} = {1} OR (o.{{owned.Owner}} = ANY ({0}) AND o.id < t.id)) AND ({{owned.Alike}}))) AS collide
                FROM {{owned.Table}} t WHERE t.{{owned.Owner}} = ANY ({0})
                """, absorbed, survivor).SingleAsync(ct);
            counts.Add(new(owned.Table, counted.Moved, counted.Collide));
        }

        return [.. counts.GroupBy(c => c.Table, StringComparer.Ordinal).Select(g => new RowCountView(g.Key, g.Sum(c => c.Moved), g.Sum(c => c.Collide)))];
    }

    /// <summary>Gives the rows of the absorbed to the survivor; how many, by table.</summary>
    public static async Task<Dictionary<string, long>> MoveAsync(ContactsDb db, Guid[] absorbed, Guid survivor, CancellationToken ct)
    {
        using var unhurried = db.AllowLongStatements();
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var owned in All)
        {
            Add(counts, owned, await db.Database.ExecuteSqlRawAsync($"UPDATE {owned.Table} SET {owned.Owner} = {{0}} WHERE {owned.Owner} = ANY ({{1}})", [survivor, absorbed], ct));
        }

        return counts;
    }

    /// <summary>Gives rows recorded under the restored, and those whom they have absorbed, back; how many, by table.</summary>
    public static async Task<Dictionary<string, long>> GiveBackAsync(ContactsDb db, Guid[] restored, Guid present, CancellationToken ct)
    {
        using var unhurried = db.AllowLongStatements();
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var owned in All)
        {
            Add(counts, owned, await db.Database.ExecuteSqlRawAsync($$"""
                UPDATE {{owned.Table}} AS t SET {{owned.Owner}} = m.top{{owned.GivenBack}}
                FROM (SELECT top, below FROM unnest({0}) AS top, LATERAL customers_below(ARRAY[top]) AS below) AS m
                WHERE t.{{owned.Owner}} = {1} AND t.{{owned.Origin}} = m.below
                """, [restored, present], ct));
        }

        return counts;
    }

    /// <summary>Rows that each survivor has recorded since, which stay with it, and the first of them.</summary>
    public static async Task<(Dictionary<string, long> Counts, List<RowReference> First)> ListStayedAsync(
        ContactsDb db, Guid present, IReadOnlyList<Guid> survivors, IReadOnlyList<DateTimeOffset> since, int listed, CancellationToken ct)
    {
        using var unhurried = db.AllowLongStatements();
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        var first = new List<RowReference>();
        foreach (var owned in All.Where(c => c.Row is not null))
        {
            var row = owned.Row!;
            var rows = await db.Database.SqlQueryRaw<StayedRow>($$"""
                SELECT t.id, count(*) OVER () AS total
                FROM unnest({0}, {1}) AS s(id, since)
                JOIN {{owned.Table}} t ON t.{{owned.Owner}} = {2} AND t.{{owned.Origin}} = s.id AND t.{{row.RecordedAt}} >= s.since
                ORDER BY t.id LIMIT {3}
                """, survivors.ToArray(), since.ToArray(), present, listed).ToListAsync(ct);
            if (rows is [var any, ..])
            {
                counts[row.Type] = counts.GetValueOrDefault(row.Type) + any.Total;
                first.AddRange(rows.Take(listed - first.Count).Select(r => new RowReference(row.Type, row.Ids.Format(r.Id))));
            }
        }

        return (counts, first);
    }
#pragma warning restore EF1002

    private static void Add(Dictionary<string, long> counts, Owned owned, long rows)
    {
        if (owned.Row is not null)
        {
            counts[owned.Table] = counts.GetValueOrDefault(owned.Table) + rows;
        }
    }

    private sealed record Counted([property: Column("moved")] long Moved, [property: Column("collide")] long Collide);

    private sealed record StayedRow([property: Column("id")] Guid Id, [property: Column("total")] long Total);
}
