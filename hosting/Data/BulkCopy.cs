using System.Collections.Concurrent;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>Many rows at once by COPY, in the transaction at hand; for imports, where a statement a row is too slow.</summary>
public static class BulkCopy
{
    private static readonly ConcurrentDictionary<IEntityType, Mapping> Mappings = new();

    /// <summary>New rows of a mapped entity, by its own mapping; rows of its collections are not among them.</summary>
    public static Task CopyAsync<T>(this CrmDbContext db, IReadOnlyCollection<T> rows, CancellationToken ct) where T : class
    {
        var mapping = db.MappingOf<T>();
        return db.CopyAsync(mapping.Table, mapping, rows, ct);
    }

    /// <summary>
    /// Rows of a mapped entity that are there already: all their columns in one statement. Whoever changes them meanwhile is
    /// overwritten, so that the caller holds locks on them.
    /// </summary>
    /// <exception cref="DbUpdateConcurrencyException">One is not there any more.</exception>
    public static async Task UpdateAsync<T>(this CrmDbContext db, IReadOnlyCollection<T> rows, CancellationToken ct) where T : class
    {
        var mapping = db.MappingOf<T>();
        var set = string.Join(", ", mapping.Columns.Where(c => !c.IsKey).Select(c => $"\"{c.Name}\" = new.\"{c.Name}\""));
        var same = string.Join(" AND ", mapping.Columns.Where(c => c.IsKey).Select(c => $"old.\"{c.Name}\" = new.\"{c.Name}\""));
        // By names and without rules: the table may have columns of a later release that must have a value.
        var all = string.Join(", ", mapping.Columns.Select(c => $"\"{c.Name}\""));
        await ExecuteAsync($"CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS SELECT {all} FROM {mapping.Table} WITH NO DATA");
        await db.CopyAsync("changed_rows", mapping, rows, ct);
        if (await ExecuteAsync($"UPDATE {mapping.Table} AS old SET {set} FROM changed_rows AS new WHERE {same}") != rows.Count)
        {
            throw new DbUpdateConcurrencyException($"Not all rows of {mapping.Table} are there any more.");
        }

        await ExecuteAsync("DROP TABLE changed_rows");

        async Task<int> ExecuteAsync(string sql) => await db.Database.ExecuteSqlRawAsync(sql, ct);
    }

    private static Task CopyAsync<T>(this CrmDbContext db, string table, Mapping mapping, IEnumerable<T> rows, CancellationToken ct) where T : class => db.CopyAsync(
        table, [.. mapping.Columns.Select(c => (c.Name, c.Type))],
        rows.Select(row => mapping.Columns.Select(c => c.Get(row) is { } value ? c.Convert?.Invoke(value) ?? value : null)), ct);

    private static Mapping MappingOf<T>(this CrmDbContext db) => Mappings.GetOrAdd(
        db.Model.FindEntityType(typeof(T)) ?? throw new InvalidOperationException($"{typeof(T)} is not mapped."),
        static type => new(type.GetTableName()!, [.. type.GetProperties().Where(p => !p.IsShadowProperty()).Select(p => new Column(
            p.GetColumnName(), p.GetColumnType(), p.IsPrimaryKey(), p.GetGetter().GetClrValue, (p.FindTypeMapping()?.Converter ?? p.GetValueConverter())?.ConvertToProvider))]));

    /// <summary>New rows of a table.</summary>
    public static async Task CopyAsync(
        this CrmDbContext db, string table, IReadOnlyList<(string Name, string Type)> columns, IEnumerable<IEnumerable<object?>> rows, CancellationToken ct)
    {
        var connection = (NpgsqlConnection)db.Database.GetDbConnection();
        if (db.Database.CurrentTransaction is null)
        {
            throw new InvalidOperationException("Rows are copied inside a transaction.");
        }

        await using var writer = await connection.BeginBinaryImportAsync($"COPY {table} ({string.Join(", ", columns.Select(c => $"\"{c.Name}\""))}) FROM STDIN (FORMAT BINARY)", ct);
        writer.Timeout = TimeSpan.FromMinutes(5);
        foreach (var row in rows)
        {
            await writer.StartRowAsync(ct);
            var i = 0;
            foreach (var value in row)
            {
                if (value is null)
                {
                    await writer.WriteNullAsync(ct);
                }
                else
                {
                    await writer.WriteAsync(value, columns[i].Type, ct);
                }

                i++;
            }
        }

        await writer.CompleteAsync(ct);
    }

    private sealed record Mapping(string Table, Column[] Columns);

    private sealed record Column(string Name, string Type, bool IsKey, Func<object, object?> Get, Func<object?, object?>? Convert);
}
