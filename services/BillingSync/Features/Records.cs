using System.Text.Json;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.BillingSync.Features;

public enum UpsertResult
{
    Created,
    Updated,
    Unchanged,
}

/// <summary>What products, orders, invoices and payments share when they are written.</summary>
internal static class Records
{
    private const int LongestExternalId = 200;
    private const int Attempts = 5;

    /// <summary>The external id of the path.</summary>
    /// <exception cref="ProblemException">400 when the source is not a word or the id not a line of text.</exception>
    public static ExternalKey ReadKey(string source, string externalId)
    {
        if (!SlugAttribute.IsSlug(source))
        {
            throw ProblemException.Invalid(new FieldError("source", "wrong_format", "Lower-case letters, digits, _ - and . only, 1 to 64 of them."));
        }

        if (externalId.Length > LongestExternalId || string.IsNullOrWhiteSpace(externalId) || externalId.Any(char.IsControl))
        {
            throw ProblemException.Invalid(new FieldError("externalId", "wrong_format", $"One line of 1 to {LongestExternalId} characters."));
        }

        return new(source, externalId);
    }

    /// <summary>
    /// Creates or replaces the record with this external id; the last writer wins. Optimistic: one read and
    /// one write; only a writer that met another one at work waits for its row.
    /// </summary>
    public static async Task<(T Record, UpsertResult Result)> UpsertAsync<T>(
        this BillingSyncDb db, ExternalKey key, Func<T> record, Func<T, bool> replace, CancellationToken ct) where T : SourceRecord
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return attempt == 1
                    ? await WriteAsync(await db.ByKey<T>(key).FirstOrDefaultAsync(ct))
                    : await db.InTransactionAsync(async () => await WriteAsync(await db.LockRowAsync<T>(key, ct)), ct);
            }
            catch (DbUpdateException exception) when (attempt < Attempts && IsRace(exception))
            {
                db.ChangeTracker.Clear();
            }
        }

        async Task<(T, UpsertResult)> WriteAsync(T? existing)
        {
            if (existing is null)
            {
                return (await db.InsertAsync(record(), ct), UpsertResult.Created);
            }

            if (!replace(existing))
            {
                return (existing, UpsertResult.Unchanged);
            }

            await db.SaveAsync(existing, ct);
            return (existing, UpsertResult.Updated);
        }
    }

    /// <summary>Saves a new record and its event.</summary>
    public static async Task<T> InsertAsync<T>(this BillingSyncDb db, T record, CancellationToken ct) where T : SourceRecord
    {
        db.Add(record);
        await db.SaveAsync(record, ct);
        return record;
    }

    public static IQueryable<T> ByKey<T>(this BillingSyncDb db, ExternalKey key) where T : SourceRecord =>
        db.Set<T>().Where(r => r.Source == key.Source && r.ExternalId == key.Id);

    private static async Task SaveAsync<T>(this BillingSyncDb db, T record, CancellationToken ct) where T : SourceRecord
    {
        db.AuditRow(JsonNamingPolicy.SnakeCaseLower.ConvertName(record.GetType().Name), record.Id, (record as BillingRecord)?.CustomerId, record);
        if (record is BillingRecord billing)
        {
            db.Publish(billing, billing.Recorded());
        }

        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { SqlState: PostgresErrorCodes.ForeignKeyViolation } refused)
        {
            throw await db.ExplainAsync(record, refused, ct);
        }
    }

    private static async Task<T?> LockRowAsync<T>(this BillingSyncDb db, ExternalKey key, CancellationToken ct) where T : SourceRecord
    {
        var table = db.Model.FindEntityType(typeof(T))!.GetTableName();
#pragma warning disable EF1003 // The table's name is the model's own.
        var rows = await db.Set<T>().FromSqlRaw("SELECT * FROM " + table + " WHERE source = {0} AND external_id = {1} FOR UPDATE", key.Source, key.Id).ToListAsync(ct);
#pragma warning restore EF1003
        return rows.SingleOrDefault();
    }

    private static bool IsRace(DbUpdateException exception) => exception is DbUpdateConcurrencyException
        || exception.InnerException is PostgresException { SqlState: PostgresErrorCodes.UniqueViolation, ConstraintName: { } name }
            && name.EndsWith(BillingSyncDb.ExternalIdSuffix, StringComparison.Ordinal);

    /// <summary>The database guards references; this says which one was refused and why.</summary>
    private static async Task<ProblemException> ExplainAsync(this BillingSyncDb db, SourceRecord record, PostgresException refused, CancellationToken ct) =>
        (refused.ConstraintName, record) switch
        {
            (BillingSyncDb.InvoiceOrder, Invoice { OrderId: { } id }) =>
                Refuse(await db.Orders.AnyAsync(o => o.Id == id, ct), "order", "/order_id"),
            (BillingSyncDb.PaymentInvoice, Payment { InvoiceId: { } id }) =>
                Refuse(await db.Invoices.AnyAsync(i => i.Id == id, ct), "invoice", "/invoice_id"),
            (BillingSyncDb.InvoiceOrder, Order) => Tied("order", "invoices"),
            (BillingSyncDb.PaymentInvoice, Invoice) => Tied("invoice", "payments"),
            _ => new(ProblemCodes.UnknownCustomer, "There is no such customer.", new FieldError("/customer_id", "unknown_customer")),
        };

    private static ProblemException Refuse(bool exists, string what, string pointer) => exists
        ? new(ProblemCodes.Unprocessable, $"The {what} belongs to another customer.", new FieldError(pointer, "wrong_customer"))
        : new(ProblemCodes.UnknownReference, $"There is no such {what}.", new FieldError(pointer, "unknown_reference"));

    private static ProblemException Tied(string what, string dependents) => new(
        ProblemCodes.Conflict,
        $"The {what} cannot move to another customer while it has {dependents} of the present one.",
        new FieldError("/customer_id", "conflict"));
}
