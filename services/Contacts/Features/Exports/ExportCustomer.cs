using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Contacts.Domain.Exports;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Contacts.Features.Exports;

/// <summary>Section <c>Exports</c>.</summary>
public sealed class ExportOptions
{
    /// <summary>How many days an archive can be fetched.</summary>
    [Range(1, 90)]
    public int KeepDays { get; init; } = 7;
}

/// <summary>
/// Asks every service for all that it knows of a person, with the ids merged into theirs: 202 with the export, which is
/// <c>completed</c> when all have answered. Its archive, one JSON document, can be fetched for <c>Exports:KeepDays</c>.
/// </summary>
internal static class ExportCustomer
{
    public static async Task<Accepted<ExportView>> Handle(
        string id, HttpContext http, ContactsDb db, ExportSignal signal, IOptions<ExportOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var key = await db.FindStoredAtPathAsync(id, http, ct);
        var export = await db.InTransactionAsync(async () =>
        {
            var customer = await db.HoldStoredAsync(key, ct);
            var ids = await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[{customer.Id}]) AS id").ToListAsync(ct);
            var asked = Export.Ask(customer.Id, ids, http.User.Subject(), options.Value.KeepDays, clock.GetUtcNow());
            db.Exports.Add(asked);
            db.Audit("exported", Customer.RecordType, customer.Id, customer.Id, []);
            await db.SaveChangesAsync(ct);
            return asked;
        }, ct);
        signal.Raise();
        var view = ExportView.Of(export, clock.GetUtcNow());
        return TypedResults.Accepted($"/v1/exports/{view.Id}", view);
    }
}

/// <summary>An export, and its archive.</summary>
internal static class ReadExport
{
    public static async Task<Ok<ExportView>> Handle(string id, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(ExportView.Of(await FindAsync(id, db, ct), clock.GetUtcNow()));

    /// <summary>
    /// <c>{"export": {…}, "services": {"contacts": {"customers": [{…}], …}, …}}</c>, written row by row. 409 before the
    /// export is completed, 410 when it has expired.
    /// </summary>
    public static async Task Archive(string id, HttpContext http, ContactsDb db, NpgsqlDataSource dataSource, TimeProvider clock, CancellationToken ct)
    {
        var (export, now) = (await FindAsync(id, db, ct), clock.GetUtcNow());
        if (export.Status != ExportStatus.Completed)
        {
            throw new ProblemException(ProblemCodes.Conflict, $"Services have not answered yet: {string.Join(", ", export.Missing)}.");
        }

        if (export.ExpiresAt <= now)
        {
            throw new ProblemException(ProblemCodes.Gone, "The archive has expired; ask for a new export.");
        }

        http.Response.ContentType = "application/json";
        http.Response.Headers.ContentDisposition = $"attachment; filename=\"{id}.json\"";
        await using var json = new Utf8JsonWriter(http.Response.BodyWriter, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WritePropertyName("export");
        JsonSerializer.Serialize(json, ExportView.Of(export, now), JsonDefaults.Options);
        json.WriteStartObject("services");
        await using var select = dataSource.CreateCommand("SELECT service, list, body::text FROM export_rows WHERE export_id = @id ORDER BY service, list, n");
        select.Parameters.Add(new NpgsqlParameter<Guid>("id", export.Id));
        await using var rows = await select.ExecuteReaderAsync(ct);
        var (service, list) = ((string?)null, (string?)null);
        while (await rows.ReadAsync(ct))
        {
            if (service != rows.GetString(0) || list != rows.GetString(1))
            {
                Close(list is not null, service is not null && service != rows.GetString(0));
                if (service != rows.GetString(0))
                {
                    json.WriteStartObject(service = rows.GetString(0));
                }

                json.WriteStartArray(list = rows.GetString(1));
            }

            json.WriteRawValue(rows.GetString(2), skipInputValidation: true);
            if (json.BytesPending > 64 * 1024)
            {
                await json.FlushAsync(ct);
                await http.Response.BodyWriter.FlushAsync(ct);
            }
        }

        Close(list is not null, service is not null);
        json.WriteEndObject();
        json.WriteEndObject();
        await json.FlushAsync(ct);

        void Close(bool array, bool part)
        {
            if (array)
            {
                json.WriteEndArray();
            }

            if (part)
            {
                json.WriteEndObject();
            }
        }
    }

    private static async Task<Export> FindAsync(string id, ContactsDb db, CancellationToken ct) =>
        (Ids.Export.TryParse(id, out var key) ? await db.Exports.AsNoTracking().Include(e => e.Parts)
            .FirstOrDefaultAsync(e => e.Id == key && db.Customers.Any(c => c.Id == e.CustomerId), ct) : null)
        ?? throw ProblemException.NotFound("export");
}

/// <summary>An export as the API shows it.</summary>
/// <param name="CustomerIds">With all who had been merged into the customer.</param>
/// <param name="ExpiresAt">From then on the archive is gone.</param>
/// <param name="Missing">Services that have not answered; they are asked again until they do.</param>
/// <param name="WaitingSeconds">How long it has waited for them; null when none is missing.</param>
public sealed record ExportView(
    string Id, ExportStatus Status, string CustomerId, IReadOnlyList<string> CustomerIds, string Actor, DateTimeOffset AskedAt, DateTimeOffset? CompletedAt,
    DateTimeOffset ExpiresAt, IReadOnlyList<ExportPartView> Parts, IReadOnlyList<string> Missing, long? WaitingSeconds)
{
    internal static ExportView Of(Export export, DateTimeOffset now) => new(
        Ids.Export.Format(export.Id),
        export.Status,
        Ids.Customer.Format(export.CustomerId),
        [.. export.CustomerIds.Select(id => Ids.Customer.Format(id))],
        export.Actor,
        export.AskedAt,
        export.CompletedAt,
        export.ExpiresAt,
        [.. export.Parts.OrderBy(p => p.Service, StringComparer.Ordinal).Select(p => new ExportPartView(p.Service, p.Counts, p.At))],
        export.Missing,
        export.Missing.Count > 0 ? (long)(now - export.AskedAt).TotalSeconds : null);
}

/// <param name="Counts">Rows by list of the archive.</param>
public sealed record ExportPartView(string Service, IReadOnlyDictionary<string, long> Counts, DateTimeOffset At);
