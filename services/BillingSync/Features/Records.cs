using System.Text.Json;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.BillingSync.Features;

/// <summary>What products, orders, invoices and payments share when they are written.</summary>
internal static class Records
{
    private const int Attempts = 5;

    /// <summary>The external id of the path.</summary>
    /// <exception cref="ProblemException">400 when the source is not a word or the id not a line of text.</exception>
    public static ExternalKey ReadKey(string source, string externalId)
    {
        var own = ExternalId.Read(source, externalId);
        return new(own.System, own.Id);
    }

    /// <summary>
    /// Creates or replaces the record with this external id; the last writer wins. Optimistic: one read and
    /// one write; only a writer that met another one at work waits for its row.
    /// </summary>
    public static Task<(T Record, UpsertResult Result)> UpsertAsync<T>(
        this BillingSyncDb db, ExternalKey key, Func<T> record, Func<T, bool> replace, CancellationToken ct) where T : SourceRecord =>
        db.UpsertAsync(key, null, _ => record(), (existing, _) => replace(existing), ct);

    /// <inheritdoc cref="UpsertAsync{T}(BillingSyncDb, ExternalKey, Func{T}, Func{T, bool}, CancellationToken)"/>
    /// <param name="owner">Whose it is to be, held until the end of the transaction; null for what belongs to nobody.</param>
    public static async Task<(T Record, UpsertResult Result)> UpsertAsync<T>(
        this BillingSyncDb db, ExternalKey key, Func<Task<Guid>>? owner, Func<Guid, T> record, Func<T, Guid, bool> replace, CancellationToken ct) where T : SourceRecord
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return attempt == 1 && owner is null
                    ? await WriteAsync(await db.ByKey<T>(key).FirstOrDefaultAsync(ct), Guid.Empty)
                    : await db.InTransactionAsync(async () =>
                    {
                        var customer = owner is null ? Guid.Empty : await owner();
                        return await WriteAsync(attempt == 1 ? await db.ByKey<T>(key).FirstOrDefaultAsync(ct) : await db.LockRowAsync<T>(key, ct), customer);
                    }, ct);
            }
            catch (DbUpdateException exception) when (attempt < Attempts && IsRace(exception))
            {
                db.ChangeTracker.Clear();
            }
        }

        async Task<(T, UpsertResult)> WriteAsync(T? existing, Guid customer)
        {
            if (existing is null)
            {
                return (await db.InsertAsync(record(customer), ct), UpsertResult.Created);
            }

            if (!replace(existing, customer))
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
        var type = JsonNamingPolicy.SnakeCaseLower.ConvertName(record.GetType().Name);
        if (record is not BillingRecord billing)
        {
            db.AuditRow(type, record.Id, customerId: null, record);
        }
        else
        {
            db.AuditRow(type, billing);
            db.Publish(billing, billing.Recorded());
        }

        var entry = db.Entry(record);
        var moves = entry.State == EntityState.Modified && record is BillingRecord && entry.Property(nameof(BillingRecord.CustomerId)).IsModified;
        switch (record)
        {
            case Invoice { OrderId: { } order } invoice when Refers(nameof(Invoice.OrderId)):
                await db.RequireOwnAsync("orders", "order", order, invoice.CustomerId, "/order_id", ct);
                break;
            case Payment { InvoiceId: { } paid } payment when Refers(nameof(Payment.InvoiceId)):
                await db.RequireOwnAsync("invoices", "invoice", paid, payment.CustomerId, "/invoice_id", ct);
                break;
        }

        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { SqlState: PostgresErrorCodes.ForeignKeyViolation } refused)
        {
            throw Explain(refused);
        }

        // The row is locked now, so nobody refers to it meanwhile.
        if (moves && record is Order moved && await db.Invoices.AnyAsync(i => i.OrderId == moved.Id && i.CustomerId != moved.CustomerId, ct))
        {
            throw Tied("order", "invoices");
        }

        if (moves && record is Invoice asked && await db.Payments.AnyAsync(p => p.InvoiceId == asked.Id && p.CustomerId != asked.CustomerId, ct))
        {
            throw Tied("invoice", "payments");
        }

        bool Refers(string reference) => entry.State == EntityState.Added || moves || entry.Property(reference).IsModified;
    }

    /// <summary>What a record refers to is the same customer's; it is locked until the record is there.</summary>
    private static async Task RequireOwnAsync(this BillingSyncDb db, string table, string what, Guid id, Guid customer, string pointer, CancellationToken ct)
    {
#pragma warning disable EF1002 // The table's name is ours.
        var owners = await db.Database.SqlQueryRaw<Guid>($"SELECT customer_id AS \"Value\" FROM {table} WHERE id = {{0}} FOR SHARE", id).ToListAsync(ct);
#pragma warning restore EF1002
        if (owners is not [var owner] || owner != customer)
        {
            throw Refuse(owners.Count > 0, what, pointer);
        }
    }

    private static async Task<T?> LockRowAsync<T>(this BillingSyncDb db, ExternalKey key, CancellationToken ct) where T : SourceRecord
    {
        var rows = await db.Set<T>().ForUpdate($"source = {key.Source} AND external_id = {key.Id}").ToListAsync(ct);
        return rows.SingleOrDefault();
    }

    private static bool IsRace(DbUpdateException exception) => exception is DbUpdateConcurrencyException
        || exception.InnerException is PostgresException { SqlState: PostgresErrorCodes.UniqueViolation, ConstraintName: { } name }
            && name.EndsWith(BillingSyncDb.ExternalIdSuffix, StringComparison.Ordinal);

    /// <summary>The database guards references too; this says which one was refused.</summary>
    private static ProblemException Explain(PostgresException refused) => refused.ConstraintName switch
    {
        BillingSyncDb.InvoiceOrder => Refuse(exists: false, "order", "/order_id"),
        BillingSyncDb.PaymentInvoice => Refuse(exists: false, "invoice", "/invoice_id"),
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
