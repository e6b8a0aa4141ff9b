using System.Collections.Concurrent;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>Many rows at once by COPY, in the transaction at hand; for imports, where an INSERT a row is too slow.</summary>
public static class BulkCopy
{
    private static readonly ConcurrentDictionary<IEntityType, Column[]> Mappings = new();

    /// <summary>New rows of a mapped entity, by its own mapping; rows of its collections are not among them.</summary>
    public static Task CopyAsync<T>(this CrmDbContext db, IReadOnlyCollection<T> rows, CancellationToken ct) where T : class
    {
        var type = db.Model.FindEntityType(typeof(T)) ?? throw new InvalidOperationException($"{typeof(T)} is not mapped.");
        var columns = Mappings.GetOrAdd(type, static t => [.. t.GetProperties().Where(p => !p.IsShadowProperty()).Select(p => new Column(
            p.GetColumnName(), p.GetColumnType(), p.GetGetter().GetClrValue, (p.FindTypeMapping()?.Converter ?? p.GetValueConverter())?.ConvertToProvider))]);
        return db.CopyAsync(
            type.GetTableName()!, [.. columns.Select(c => (c.Name, c.Type))],
            rows.Select(row => columns.Select(c => c.Get(row) is { } value ? c.Convert?.Invoke(value) ?? value : null)), ct);
    }

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

    private sealed record Column(string Name, string Type, Func<object, object?> Get, Func<object?, object?>? Convert);
}
