using System.Globalization;
using Npgsql;

namespace Crm.Runner.Backups;

/// <summary>What a database has in it, table by table, so that two can be compared.</summary>
internal static class DatabaseContents
{
    /// <summary>In the transaction of the connection, when it has one.</summary>
    public static async Task<IReadOnlyDictionary<string, TableContents>> ReadAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        // The text of a row must not depend on the session.
        await ExecuteAsync(connection, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'", ct);
        var contents = new SortedDictionary<string, TableContents>(StringComparer.Ordinal);
        foreach (var table in await TablesAsync(connection, ct))
        {
#pragma warning disable CA2100 // names of the catalogue, quoted by quote_ident
            await using var command = new NpgsqlCommand($"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} AS t", connection) { CommandTimeout = 0 };
#pragma warning restore CA2100
            await using var reader = await command.ExecuteReaderAsync(ct);
            await reader.ReadAsync(ct);
            contents.Add(table, new TableContents(reader.GetInt64(0), reader.GetString(1)));
        }

        return contents;
    }

    /// <summary>Every difference as a sentence.</summary>
    public static IEnumerable<string> Compare(string database, IReadOnlyDictionary<string, TableContents> expected, IReadOnlyDictionary<string, TableContents> actual)
    {
        foreach (var (table, contents) in expected)
        {
            if (!actual.TryGetValue(table, out var found))
                yield return $"{database} lacks the table {table}.";
            else if (found.Rows != contents.Rows)
                yield return string.Create(CultureInfo.InvariantCulture, $"{database}.{table} has {found.Rows} rows instead of {contents.Rows}.");
            else if (found.Sum != contents.Sum)
                yield return string.Create(CultureInfo.InvariantCulture, $"{database}.{table} has {found.Rows} rows, as it must, and not the same ones.");
        }

        foreach (var table in actual.Keys.Except(expected.Keys))
            yield return $"{database} has a table {table}, which the backup has not.";
    }

    /// <summary>Quoted, with their schema; without those of extensions.</summary>
    public static async Task<IReadOnlyList<string>> TablesAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand("""
            SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
                AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1
            """, connection);
        await using var reader = await command.ExecuteReaderAsync(ct);
        var tables = new List<string>();
        while (await reader.ReadAsync(ct))
            tables.Add(reader.GetString(0));
        return tables;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
#pragma warning disable CA2100 // a constant of this file
        await using var command = new NpgsqlCommand(sql, connection);
#pragma warning restore CA2100
        await command.ExecuteNonQueryAsync(ct);
    }
}
