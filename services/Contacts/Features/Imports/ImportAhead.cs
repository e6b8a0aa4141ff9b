using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Npgsql;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Reads the next rows of an import while the database writes the present ones. Whoever takes them compares them in the
/// end with the rows as they are then: an erasure may have emptied one.
/// </summary>
internal sealed class ImportAhead(NpgsqlDataSource dataSource)
{
    private (Guid Import, FieldCatalog Fields, Task<Dictionary<int, ImportRow>> Rows)? _next;

    /// <param name="fields">What the reader reads by.</param>
    /// <param name="drafts">Most rows will find nobody.</param>
    public void Begin(Import import, FieldCatalog fields, ImportReader reader, int from, int to, bool drafts, CancellationToken ct) =>
        _next = from > to ? null : (import.Id, fields, Task.Run(() => ReadAsync(import.Id, reader, from, to, drafts, ct), ct));

    /// <summary>By number what was begun for this import; nothing after a failure, or when fields were defined otherwise meanwhile.</summary>
    public async Task<IReadOnlyDictionary<int, ImportRow>> TakeAsync(Import import, FieldCatalog fields)
    {
        var (next, nothing) = (_next, new Dictionary<int, ImportRow>());
        _next = null;
        if (next?.Import != import.Id || !next.Value.Fields.IsSameAs(fields))
        {
            return nothing;
        }

        await ((Task)next.Value.Rows).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return next.Value.Rows.IsCompletedSuccessfully ? await next.Value.Rows : nothing;
    }

    private async Task<Dictionary<int, ImportRow>> ReadAsync(Guid import, ImportReader reader, int from, int to, bool drafts, CancellationToken ct)
    {
        var rows = new Dictionary<int, ImportRow>(to - from + 1);
        await using var command = dataSource.CreateCommand("SELECT row_no, body FROM import_rows WHERE import_id = @id AND row_no BETWEEN @from AND @to");
        command.Parameters.Add(new NpgsqlParameter<Guid>("id", import));
        command.Parameters.Add(new NpgsqlParameter<int>("from", from));
        command.Parameters.Add(new NpgsqlParameter<int>("to", to));
        await using var found = await command.ExecuteReaderAsync(ct);
        while (await found.ReadAsync(ct))
        {
            var row = reader.Read(found.GetInt32(0), found.GetString(1));
            if (drafts)
            {
                await reader.DraftAsync(row, ct);
            }

            rows.Add(row.Number, row);
        }

        return rows;
    }
}
