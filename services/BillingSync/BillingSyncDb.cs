using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
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

    public override IReadOnlyList<UseRows> Uses { get; } =
    [
        new("orders", "greatest(placed_at, updated_at)", "pending_order", "status = 'pending'"),
        new("invoices", "greatest(issued_at, updated_at)", "open_invoice", "status = 'open'"),
        new("payments", "greatest(paid_at, updated_at)", "pending_payment", "status = 'pending'"),
        new("billing_accounts", "updated_at", "active_subscription", "subscription = 'active'"),
    ];

    public override IReadOnlyList<ReplayedRows> Replayed =>
    [
        ReplayedRows.Of(Orders, "orders", typeof(OrderRecorded), o => o.Recorded()),
        ReplayedRows.Of(Invoices, "invoices", typeof(InvoiceRecorded), i => i.Recorded()),
        ReplayedRows.Of(Payments, "payments", typeof(PaymentRecorded), p => p.Recorded()),
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

    /// <summary>Two who pay in the same source. Whose an account is, its origin says: its owner here may be that of a moment ago.</summary>
    public override async Task<IReadOnlyList<MergeBlocker>> FindMergeBlockersAsync(IReadOnlyDictionary<Guid, Guid> members, CancellationToken ct) =>
        [.. BlockersAmong(await ReadPayingAsync(members.Keys, ct), members)];

    public override async Task<IReadOnlyList<MergeBlocker>> FindLateBlockersAsync(Guid survivor, Guid[] absorbed, CancellationToken ct)
    {
        var members = await FindMembersAsync(survivor, absorbed, ct);
        // Who writes an account of the survivor at this moment has not seen those that came, and is not seen: it goes first.
        await LockAccountsAsync((await ReadPayingAsync(members.Keys, ct)).Select(a => (a.CustomerId, a.Source)), ct);
        // Of whom an undo has restored meanwhile the accounts are not the survivor's.
        return [.. (await ReadPayingAsync(members.Keys, ct)).GroupBy(a => a.CustomerId).SelectMany(g => BlockersAmong(g, members))];
    }

    /// <summary>Nobody else writes the accounts of these customers in these sources until the transaction ends.</summary>
    public Task LockAccountsAsync(IEnumerable<(Guid Customer, string Source)> accounts, CancellationToken ct) =>
        LockAsync(accounts.Select(a => $"billing account {a.Customer} {a.Source}"), ct);

    private async Task<List<BillingAccount>> ReadPayingAsync(IEnumerable<Guid> origins, CancellationToken ct)
    {
        List<Guid> ids = [.. origins];
        return [.. (await BillingAccounts.AsNoTracking().Where(a => ids.Contains(a.OriginCustomerId)).ToListAsync(ct)).Where(a => a.Pays)];
    }

    private static IEnumerable<MergeBlocker> BlockersAmong(IEnumerable<BillingAccount> paying, IReadOnlyDictionary<Guid, Guid> members) => paying
        .GroupBy(a => a.Source, StringComparer.Ordinal).OrderBy(g => g.Key, StringComparer.Ordinal)
        .Select(g => new MergeBlocker(ProblemCodes.TwoPayingAccounts.Code, g.Key, [.. g.Select(a => members[a.OriginCustomerId]).Distinct().Order()]))
        .Where(b => b.Customers.Count > 1);

    public override IReadOnlyList<PersonalTable> PersonalTables =>
    [
        .. base.PersonalTables,
        new("orders", $"SELECT to_jsonb(t) - 'event_sequence' FROM orders t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Order, "order"),
        new("invoices", $"SELECT to_jsonb(t) - 'event_sequence' FROM invoices t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Invoice, "invoice"),
        new("payments", $"SELECT to_jsonb(t) - 'event_sequence' FROM payments t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Payment, "payment"),
        new("billing_accounts", $"SELECT to_jsonb(t) FROM billing_accounts t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", RecordType: BillingAccount.RecordType),
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
