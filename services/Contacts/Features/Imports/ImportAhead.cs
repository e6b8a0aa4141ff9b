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
    /// <summary>Of the texts of one batch, which are in memory at once; a row may have a million characters.</summary>
    private const long MostBytes = 8_000_000;

    /// <summary>Rows by number from <c>@from</c> to <c>@to</c>, no more than have <c>@bytes</c> together, and one at least.</summary>
    public const string NextRows = """
        SELECT row_no AS "Number", body AS "Body" FROM (
            SELECT row_no, body, sum(octet_length(body)) OVER (ORDER BY row_no) AS bytes
            FROM import_rows WHERE import_id = @id AND row_no BETWEEN @from AND @to) AS next
        WHERE bytes <= @bytes OR row_no = @from ORDER BY row_no
        """;

    private (Guid Import, FieldCatalog Fields, Task<List<ImportRow>> Rows)? _next;

    /// <summary>Of <see cref="NextRows"/>.</summary>
    public static NpgsqlParameter[] Parameters(Guid import, int from, int to) =>
    [
        new NpgsqlParameter<Guid>("id", import),
        new NpgsqlParameter<int>("from", from),
        new NpgsqlParameter<int>("to", to),
        new NpgsqlParameter<long>("bytes", MostBytes),
    ];

    /// <param name="fields">What the reader reads by.</param>
    /// <param name="drafts">Most rows will find nobody.</param>
    public void Begin(Import import, FieldCatalog fields, ImportReader reader, int from, int to, bool drafts, CancellationToken ct) =>
        _next = from > to ? null : (import.Id, fields, Task.Run(() => ReadAsync(import.Id, reader, from, to, drafts, ct), ct));

    /// <summary>In their order the rows that were begun for this import; nothing after a failure, or when fields were defined otherwise meanwhile.</summary>
    public async Task<List<ImportRow>> TakeAsync(Import import, FieldCatalog fields)
    {
        var (next, nothing) = (_next, new List<ImportRow>());
        _next = null;
        if (next?.Import != import.Id || !next.Value.Fields.IsSameAs(fields))
        {
            return nothing;
        }

        await ((Task)next.Value.Rows).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return next.Value.Rows.IsCompletedSuccessfully ? await next.Value.Rows : nothing;
    }

    private async Task<List<ImportRow>> ReadAsync(Guid import, ImportReader reader, int from, int to, bool drafts, CancellationToken ct)
    {
        var rows = new List<ImportRow>(to - from + 1);
        await using var command = dataSource.CreateCommand(NextRows);
        command.Parameters.AddRange(Parameters(import, from, to));
        await using var found = await command.ExecuteReaderAsync(ct);
        while (await found.ReadAsync(ct))
        {
            var row = reader.Read(found.GetInt32(0), found.GetString(1));
            if (drafts)
            {
                await reader.DraftAsync(row, ct);
            }

            rows.Add(row);
        }

        return rows;
    }
}
