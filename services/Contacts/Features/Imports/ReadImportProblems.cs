using System.ComponentModel.DataAnnotations.Schema;
using System.Globalization;
using System.Text.Json;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// What is wrong with the rows of an import that failed so far, as CSV (RFC 4180) in the order of the file: a line for each
/// thing that is wrong. What the rows said is not kept once they are done.
/// </summary>
internal static class ReadImportProblems
{
    private const int Batch = 1000;

    public static async Task Handle(string id, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var import = (await db.FindImportAsync(id, ct)).Id;
        http.Response.ContentType = "text/csv; charset=utf-8";
        http.Response.Headers.ContentDisposition = $"attachment; filename=\"{id}-problems.csv\"";
        await using var file = new StreamWriter(http.Response.Body, leaveOpen: true);
        await file.WriteAsync("row,code,pointer,message\r\n".AsMemory(), ct);
        var (after, more) = (0, true);
        while (more)
        {
            var rows = await db.Database.SqlQuery<Row>($"""
                SELECT row_no, code, errors::text AS errors FROM import_results
                WHERE import_id = {import} AND outcome = 'failed' AND row_no > {after} ORDER BY row_no LIMIT {Batch}
                """).ToListAsync(ct);
            foreach (var row in rows)
            {
                after = row.Number;
                foreach (var error in row.Problems())
                {
                    await file.WriteAsync(string.Create(CultureInfo.InvariantCulture, $"{after},{Cell(error.Code)},{Cell(error.Pointer)},{Cell(error.Detail)}\r\n").AsMemory(), ct);
                }
            }

            more = rows.Count == Batch;
        }
    }

    /// <summary>A program for spreadsheets runs what looks like a formula, unless an apostrophe is before it.</summary>
    private static string Cell(string? text)
    {
        var safe = text is ['=' or '+' or '-' or '@' or '\t' or '\r', ..] ? $"'{text}" : text;
        return $"\"{safe?.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    private sealed record Row([property: Column("row_no")] int Number, [property: Column("code")] string? Code, [property: Column("errors")] string? Errors)
    {
        public IReadOnlyList<FieldError> Problems() =>
            Errors is not null && JsonSerializer.Deserialize<List<FieldError>>(Errors, JsonDefaults.Options) is { Count: > 0 } errors ? errors : [new("", Code ?? "")];
    }
}
