using System.Text.Encodings.Web;
using System.Text.Json;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Features.CustomFields;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Net.Http.Headers;
using Npgsql;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// Takes a file of customers, CSV or NDJSON of up to 2 GB, or an Excel workbook. The body is stored whole before the answer,
/// streamed by COPY; the work begins afterwards and survives every crash. Without a mapping the columns of CSV and workbooks
/// are called as the fields, and a line of NDJSON is a customer as the API has it. <c>calling_code</c> and <c>date_format</c>
/// come before the mapping's.
/// </summary>
internal static class ReceiveImport
{
    public static readonly string[] Parameters = ["mapping", "match_on", "dry_run", "calling_code", "date_format"];

    /// <summary>Bytes.</summary>
    public const long LargestBody = 2_000_000_000;

    public const int MostColumns = 500;

    private const int MostRows = 10_000_000;

    /// <summary>Nothing is escaped that need not be: an erasure looks for values in rows that wait.</summary>
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static async Task<Accepted<ImportView>> Handle(HttpRequest request, ContactsDb db, ImportSignal signal, TimeProvider clock, CancellationToken ct)
    {
        // What a file has is known only when its rows are read, and then nobody is asked any more.
        CallerRights.Current.RequireWrite(FieldGroups.All);
        OwnershipRules.RequireAllDepartments();
        var format = request.ContentType?.Split(';')[0].Trim().ToLowerInvariant() switch
        {
            "text/csv" => ImportFormat.Csv,
            "application/x-ndjson" or "application/jsonl" => ImportFormat.Ndjson,
            ReceivedWorkbook.ContentType => ImportFormat.Xlsx,
            _ => throw new ProblemException(ProblemCodes.UnsupportedMediaType, $"Send text/csv, application/x-ndjson or {ReceivedWorkbook.ContentType}."),
        };
        var charset = MediaTypeHeaderValue.TryParse(request.ContentType, out var type) ? HeaderUtilities.RemoveQuotes(type.Charset).Value : null;
        var encoding = TextRecords.EncodingOf(charset) ?? throw new ProblemException(ProblemCodes.UnsupportedMediaType, "The charset is not known here; send UTF-8.");
        var dryRun = request.Query["dry_run"].ToString() switch
        {
            "" or "false" => false,
            "true" => true,
            _ => throw ProblemException.InvalidParameter("dry_run", "true or false."),
        };
        var name = request.Query["mapping"] is [{ Length: > 0 } given] ? given : null;
        var mapping = name is null ? new ImportMapping() : await db.FindMappingAsync(name, ct) ?? throw ProblemException.InvalidParameter("mapping", "There is no such mapping.");
        mapping = mapping with { CallingCode = CallingCode(request) ?? mapping.CallingCode, DateFormat = DateFormat(request) ?? mapping.DateFormat };
        if (format == ImportFormat.Xlsx && mapping.DateFormat is { } dates && ImportMapping.MistakesIso(dates))
        {
            throw ProblemException.InvalidParameter("date_format", "The dates of a workbook come as yyyy-MM-dd, of which this makes other ones; send it as text/csv.");
        }

        var fields = await db.ReadFieldsAsync(ct);
        var import = Import.Receive(format, name, mapping, MatchOn(request, fields), dryRun, request.HttpContext.User.Subject(), clock.GetUtcNow());
        using var sheet = format == ImportFormat.Xlsx ? await ReceiveSheetAsync(request, db, ct) : null;
        await db.InTransactionAsync(async () =>
        {
            using var text = new TextRecords(request.Body, encoding);
            IRowRecords table = sheet is null ? text : sheet;
            IReadOnlyList<string> columns = [];
            if (format.HasColumns())
            {
                columns = await table.ReadHeaderAsync(ct) ?? throw new ProblemException(ProblemCodes.BadRequest, "The body is empty.");
                RequireColumns(columns);
            }

            var compiled = new CompiledMapping(mapping, columns, fields);
            if (format.HasColumns() && !compiled.FillsAnything)
            {
                throw new ProblemException(
                    ProblemCodes.Unprocessable, $"No column is known to the mapping; the first ones are {string.Join(", ", columns.Take(5).Select(c => c.Length <= 40 ? c : c[..40]))}.");
            }

            var rows = await StoreAsync(db, import, NextAsync, ct);
            import.Received(columns, compiled.Ignored, rows);
            db.Imports.Add(import);
            // Not what its columns are called: a file without a header has a person's values there.
            db.Audit("created", Import.RecordType, import.Id, null, AuditChanges.Between(null, new { Format = import.Sent, Mapping = import.MappingName, import.MatchOn, import.DryRun, import.Total }));
            return await db.SaveChangesAsync(ct);

            async ValueTask<string?> NextAsync() => format.HasColumns()
                ? await table.ReadRowAsync(ct) is { } cells ? JsonSerializer.Serialize(cells, Plain) : null
                : await text.ReadLineAsync(ct) is { } line ? WithoutEscapes(line) : null;
        }, ct);
        signal.Raise();
        var view = ImportView.Of(import);
        return TypedResults.Accepted($"/v1/imports/{view.Id}", view);
    }

    private static async Task<SheetRecords> ReceiveSheetAsync(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        if (db.Database.CurrentTransaction is not null)
        {
            // That of an Idempotency-Key, in which nothing is said while a workbook comes in.
            await db.Database.ExecuteSqlRawAsync("SET LOCAL idle_in_transaction_session_timeout = 0", ct);
        }

        return await SheetRecords.ReceiveAsync(request, ct);
    }

    /// <param name="next">The next row as it is kept; null at the end.</param>
    private static async Task<int> StoreAsync(ContactsDb db, Import import, Func<ValueTask<string?>> next, CancellationToken ct)
    {
        var connection = (NpgsqlConnection)db.Database.GetDbConnection();
        await using var writer = await connection.BeginBinaryImportAsync("COPY import_rows (import_id, row_no, body) FROM STDIN (FORMAT BINARY)", ct);
        writer.Timeout = TimeSpan.FromMinutes(5);
        var rows = 0;
        while (await next() is { } text)
        {
            if (++rows > MostRows)
            {
                throw new ProblemException(ProblemCodes.Unprocessable, $"An import has at most {MostRows} rows; send the rest as another one.");
            }

            await writer.StartRowAsync(ct);
            await writer.WriteAsync(import.Id, ct);
            await writer.WriteAsync(rows, ct);
            await writer.WriteAsync(text, ct);
        }

        if (rows == 0)
        {
            throw new ProblemException(ProblemCodes.BadRequest, "The body has no rows.");
        }

        await writer.CompleteAsync(ct);
        return rows;
    }

    /// <summary>What is no JSON stays as it is: it fails when it is read.</summary>
    private static string WithoutEscapes(string line)
    {
        if (!line.Contains('\\', StringComparison.Ordinal))
        {
            return line;
        }

        try
        {
            using var document = JsonDocument.Parse(line);
            return JsonSerializer.Serialize(document.RootElement, Plain);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return line;
        }
    }

    private static void RequireColumns(IReadOnlyList<string> columns)
    {
        if (columns.Count > MostColumns)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, $"At most {MostColumns} columns.");
        }

        var twice = columns.GroupBy(c => c.Trim(), StringComparer.OrdinalIgnoreCase).FirstOrDefault(g => g.Key.Length > 0 && g.Count() > 1);
        if (twice is not null)
        {
            throw new ProblemException(ProblemCodes.Unprocessable, $"The column {(twice.Key.Length <= 80 ? twice.Key : twice.Key[..80])} is there twice.");
        }
    }

    /// <summary>A + that was not encoded comes as a blank.</summary>
    private static string? CallingCode(HttpRequest request) =>
        request.Query["calling_code"] is not [{ Length: > 0 } given] ? null
        : given.TrimStart(' ', '+') is var digits && ImportMapping.IsCallingCode($"+{digits}") ? $"+{digits}"
        : throw ProblemException.InvalidParameter("calling_code", ImportMapping.ExpectedCallingCode);

    private static string? DateFormat(HttpRequest request) =>
        request.Query["date_format"] is not [{ Length: > 0 } given] ? null
        : given.Length <= 40 && ImportMapping.IsDateFormat(given) ? given
        : throw ProblemException.InvalidParameter("date_format", ImportMapping.ExpectedDateFormat);

    private static List<MatchBy> MatchOn(HttpRequest request, FieldCatalog fields)
    {
        if (request.Query["match_on"] is not [{ Length: > 0 } words])
        {
            return [new(MatchKey.ExternalId, "")];
        }

        var keys = words.Split(',').Distinct().Select(w => MatchBy.Parse(w)
            ?? throw ProblemException.InvalidParameter("match_on", "A list of external_id, email, phone and attributes.NAME, the strongest first.")).ToList();
        return keys.TrueForAll(k => k.Kind != MatchKey.Attribute || fields.Unique.Any(f => f.Name == k.Field && f.UniqueState == FieldIndexState.Ready))
            ? keys
            : throw ProblemException.InvalidParameter("match_on", "Attributes are those of fields that are unique and whose index is ready.");
    }
}
