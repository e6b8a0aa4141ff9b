using Crm.BillingSync.Domain;
using Crm.CustomerCopy;
using Crm.Hosting.Data;
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

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<OrderStatus>();
        configurationBuilder.EnumAsWord<InvoiceStatus>();
        configurationBuilder.EnumAsWord<PaymentStatus>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        Map<Product>(modelBuilder, "products");
        Map<Order>(modelBuilder, "orders").Property(o => o.Lines).AsJson();
        Map<Invoice>(modelBuilder, "invoices");
        Map<Payment>(modelBuilder, "payments");
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
