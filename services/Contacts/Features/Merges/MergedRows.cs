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
    private sealed record Owned(string Table, NamedRow? Row, string Owner = "customer_id", string Origin = "origin_customer_id");

    /// <param name="Type">As the row is named to people.</param>
    /// <param name="RecordedAt">The column that says when the row was recorded.</param>
    private sealed record NamedRow(string Type, IdKind Ids, string RecordedAt);

    private static readonly Owned[] All =
    [
        new("consents", new("consent", Ids.Consent, "recorded_at")),
        new("lifecycle_changes", null),
        new("placed_orders", null),
        new("account_managers", new("account_manager", Ids.AccountManager, "created_at")),
        new("change_requests", new("change_request", Ids.ChangeRequest, "requested_at")),
        new("relationships", new("relationship", Ids.Relationship, "created_at"), "from_id", "origin_from_id"),
        new("relationships", new("relationship", Ids.Relationship, "created_at"), "to_id", "origin_to_id"),
    ];

#pragma warning disable EF1002 // Names of tables and columns are our own.

    /// <summary>How many rows a merge would move, by table.</summary>
    public static async Task<IReadOnlyDictionary<string, long>> CountAsync(ContactsDb db, Guid[] absorbed, CancellationToken ct)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var owned in All.Where(c => c.Row is not null))
        {
            var rows = await db.Database.SqlQueryRaw<long>($"SELECT count(*) AS \"Value\" FROM {owned.Table} WHERE {owned.Owner} = ANY ({{0}})", absorbed).SingleAsync(ct);
            Add(counts, owned, rows);
        }

        return counts;
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
                UPDATE {{owned.Table}} AS t SET {{owned.Owner}} = m.top
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

    private sealed record StayedRow([property: Column("id")] Guid Id, [property: Column("total")] long Total);
}
