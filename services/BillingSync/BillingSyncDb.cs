using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Crm.BillingSync;

internal sealed class BillingSyncDb(DbContextOptions<BillingSyncDb> options) : CustomerCopyDb(options)
{
    /// <summary>Names of constraints that writes catch; that of a table's external ids is <c>&lt;table&gt;_external_id</c>.</summary>
    public const string ExternalIdSuffix = "_external_id";

    public const string InvoiceOrder = "invoices_order";
    public const string PaymentInvoice = "payments_invoice";

    public DbSet<Product> Products => Set<Product>();
    public DbSet<Order> Orders => Set<Order>();
    public DbSet<Invoice> Invoices => Set<Invoice>();
    public DbSet<Payment> Payments => Set<Payment>();
    public DbSet<BillingAccount> BillingAccounts => Set<BillingAccount>();

    public override IReadOnlyList<OwnedRows> OwnedRows { get; } =
    [
        new("orders", new("order", Ids.Order, "created_at")),
        new("invoices", new("invoice", Ids.Invoice, "created_at")),
        new("payments", new("payment", Ids.Payment, "created_at")),
        new("billing_accounts", Alike: "source"),
    ];

    /// <summary>
    /// Invoices and payments are kept, as the law wants: they say what was charged and paid, and their customer is an id
    /// that nothing here leads from to a person.
    /// </summary>
    public override IReadOnlyList<ErasureStep> ErasureSteps =>
    [
        .. base.ErasureSteps,
        // An account has no id that is named outside; it may have been changed while its customer was merged into another one.
        new("audit_value", $"""
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT e.id FROM audit_entry e
                WHERE e.record_type = '{BillingAccount.RecordType}' AND e.record_id IN (SELECT id FROM billing_accounts WHERE {CustomerCopy.OwnedRows.OfErased}))
            """),
        new("billing_accounts", $"DELETE FROM billing_accounts WHERE {CustomerCopy.OwnedRows.OfErased}"),
        new("invoices", $"UPDATE invoices SET order_id = NULL WHERE {CustomerCopy.OwnedRows.OfErased} RETURNING id", Ids.Invoice, "invoice", Kept: true),
        new("payments", $"SELECT id FROM payments WHERE {CustomerCopy.OwnedRows.OfErased}", Ids.Payment, "payment", Kept: true),
        new(null, $"UPDATE invoices SET order_id = NULL WHERE order_id IN (SELECT id FROM orders WHERE {CustomerCopy.OwnedRows.OfErased})"),
        new("orders", $"DELETE FROM orders WHERE {CustomerCopy.OwnedRows.OfErased} RETURNING id", Ids.Order, "order"),
    ];

    /// <summary>Two who pay in the same source: a provider's customer id, or an active subscription.</summary>
    public override async Task<IReadOnlyList<MergeBlocker>> FindMergeBlockersAsync(IReadOnlyCollection<Guid> customers, CancellationToken ct)
    {
        var paying = await BillingAccounts.AsNoTracking()
            .Where(a => customers.Contains(a.CustomerId) && (a.ProviderCustomerId != null || a.Subscription == Subscription.Active))
            .Select(a => new { a.Source, a.CustomerId }).Distinct().ToListAsync(ct);
        return [.. paying.GroupBy(a => a.Source).Where(g => g.Count() > 1).OrderBy(g => g.Key, StringComparer.Ordinal)
            .Select(g => new MergeBlocker(ProblemCodes.TwoPayingAccounts.Code, g.Key, [.. g.Select(a => a.CustomerId).Order()]))];
    }

    public override IReadOnlyList<PersonalTable> PersonalTables =>
    [
        .. base.PersonalTables,
        new("orders", $"SELECT to_jsonb(t) - 'event_sequence' FROM orders t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Order),
        new("invoices", $"SELECT to_jsonb(t) - 'event_sequence' FROM invoices t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Invoice),
        new("payments", $"SELECT to_jsonb(t) - 'event_sequence' FROM payments t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Payment),
        new("billing_accounts", $"SELECT to_jsonb(t) - 'id' FROM billing_accounts t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id"),
    ];

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<OrderStatus>();
        configurationBuilder.EnumAsWord<InvoiceStatus>();
        configurationBuilder.EnumAsWord<PaymentStatus>();
        configurationBuilder.EnumAsWord<Subscription>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        Map<Product>(modelBuilder, "products");
        KeepToRows(Map<Order>(modelBuilder, "orders"));
        modelBuilder.Entity<Order>().Property(o => o.Lines).AsJson();
        KeepToRows(Map<Invoice>(modelBuilder, "invoices"));
        KeepToRows(Map<Payment>(modelBuilder, "payments"));
        modelBuilder.Entity<BillingAccount>(account =>
        {
            account.ToTable("billing_accounts");
            KeepToRows(account);
            account.Property(a => a.Id).ValueGeneratedNever();
            account.Property(a => a.Version).IsConcurrencyToken();
        });
    }

    private static EntityTypeBuilder<T> Map<T>(ModelBuilder modelBuilder, string table) where T : SourceRecord
    {
        var record = modelBuilder.Entity<T>();
        record.ToTable(table);
        record.Property(r => r.Id).ValueGeneratedNever();
        record.Property(r => r.Version).IsConcurrencyToken();
        return record;
    }
}
