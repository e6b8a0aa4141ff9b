using System.ComponentModel.DataAnnotations.Schema;
using Microsoft.EntityFrameworkCore;

namespace Crm.CustomerCopy;

/// <summary>Rows that tell when a customer was last dealt with.</summary>
/// <param name="Table">One of <see cref="CustomerCopyDb.OwnedRows"/>.</param>
/// <param name="At">SQL of a row's instant, null when the row is no use.</param>
/// <param name="Open">What a row that is not at its end is called, such as <c>open_case</c>.</param>
/// <param name="OpenWhen">SQL that says whether it is one.</param>
public sealed record UseRows(string Table, string At, string? Open = null, string? OpenWhen = null);

internal static class CustomerUses
{
    /// <summary>Of those of the customers who have such rows: the newest one's instant, and what is open.</summary>
    public static async Task<IReadOnlyList<CustomerUse>> ReadUsesAsync(this CustomerCopyDb db, Guid[] customers, CancellationToken ct)
    {
        if (db.Uses.Count == 0)
        {
            return [];
        }

        var tables = db.Uses.Select(u => $"""
            SELECT customer_id, max({u.At}) AS at, {(u.Open is null ? "NULL" : $"CASE WHEN bool_or({u.OpenWhen}) THEN '{u.Open}' END")} AS open
            FROM {u.Table} WHERE customer_id = ANY (@customers) GROUP BY customer_id
            """);
        var sql = $"""
            SELECT customer_id, max(at) AS at, coalesce(array_agg(open) FILTER (WHERE open IS NOT NULL), ARRAY[]::text[]) AS open
            FROM ({string.Join("\nUNION ALL\n", tables)}) AS used GROUP BY customer_id
            """;
        return await db.Database.SqlQueryRaw<CustomerUse>(sql, new Npgsql.NpgsqlParameter<Guid[]>("customers", customers)).ToListAsync(ct);
    }
}

/// <param name="At">Of the last thing that happened; null when there are rows, none of which is a use.</param>
/// <param name="Open">The names of <see cref="UseRows.Open"/>.</param>
internal sealed record CustomerUse([property: Column("customer_id")] Guid CustomerId, [property: Column("at")] DateTimeOffset? At, [property: Column("open")] string[] Open);
