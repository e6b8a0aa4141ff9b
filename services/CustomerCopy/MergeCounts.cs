#pragma warning disable EF1002 // Names of tables and columns are the service's own.

using System.ComponentModel.DataAnnotations.Schema;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.CustomerCopy;

/// <summary>
/// What a merge or its undo has moved here, counted by origin: right as well when the new edges had come with another
/// message before.
/// </summary>
internal static class MergeCounts
{
    private const int Listed = 1000;

    /// <summary>Rows recorded under the absorbed customers, by table. With a survivor only of those who lead to it now.</summary>
    public static async Task<IReadOnlyDictionary<string, long>> CountMovedAsync(this CustomerCopyDb db, Guid[] absorbed, Guid? survivor, CancellationToken ct)
    {
        using var unhurried = db.AllowLongStatements();
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var owned in db.OwnedRows)
        {
            counts[owned.Table] = await db.Database.SqlQueryRaw<long>($$"""
                SELECT count(*) AS "Value" FROM (
                    SELECT id, customer_root(top) AS root
                    FROM unnest({0}) AS top, LATERAL customers_below(ARRAY[top]) AS id
                    WHERE {1}::uuid IS NULL OR customer_root(top) = customer_root({1})) AS m
                JOIN {{owned.Table}} t ON t.customer_id = m.root AND t.origin_customer_id = m.id
                """, absorbed, Nullable(survivor)).SingleAsync(ct);
        }

        return counts;
    }

    /// <summary>Rows that each survivor has recorded since and before the undo, and the first thousand of them.</summary>
    public static async Task<(IReadOnlyDictionary<string, long> Counts, IReadOnlyList<RowReference> First)> ListStayedAsync(
        this CustomerCopyDb db, IReadOnlyList<SurvivorSince> survivors, DateTimeOffset until, CancellationToken ct)
    {
        using var unhurried = db.AllowLongStatements();
        var ids = survivors.Select(s => Ids.Customer.Parse(s.CustomerId)).ToArray();
        var since = survivors.Select(s => s.Since.ToUniversalTime()).ToArray();
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        var first = new List<RowReference>();
        foreach (var owned in db.OwnedRows.Where(o => o.Source is not null))
        {
            var source = owned.Source!;
            var rows = await db.Database.SqlQueryRaw<StayedRow>($$"""
                SELECT t.id, count(*) OVER () AS total
                FROM unnest({0}, {1}) AS s(id, since)
                JOIN {{owned.Table}} t ON t.customer_id = customer_root(s.id) AND t.origin_customer_id = s.id AND t.{{source.RecordedAt}} >= s.since AND t.{{source.RecordedAt}} < {2}
                ORDER BY t.id LIMIT {3}
                """, ids, since, until.ToUniversalTime(), Listed).ToListAsync(ct);
            if (rows is [var row, ..])
            {
                counts[source.Type] = row.Total;
                first.AddRange(rows.Take(Listed - first.Count).Select(r => new RowReference(source.Type, source.Ids.Format(r.Id))));
            }
        }

        return (counts, first);
    }

    private static Npgsql.NpgsqlParameter Nullable(Guid? id) => new() { NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Uuid, Value = (object?)id ?? DBNull.Value };

    private sealed record StayedRow([property: Column("id")] Guid Id, [property: Column("total")] long Total);
}
