using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Imports;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts;

internal sealed class ContactsDb(DbContextOptions<ContactsDb> options) : CrmDbContext(options)
{
    /// <summary>Names of constraints that handlers catch.</summary>
    public const string ExternalIdKey = "external_ids_pkey";

    public DbSet<Customer> Customers => Set<Customer>();
    public DbSet<CustomerIdentifier> Identifiers => Set<CustomerIdentifier>();
    public DbSet<ExternalId> ExternalIds => Set<ExternalId>();
    public DbSet<DuplicateOverride> DuplicateOverrides => Set<DuplicateOverride>();
    public DbSet<Consent> Consents => Set<Consent>();
    public DbSet<CurrentConsent> CurrentConsents => Set<CurrentConsent>();
    public DbSet<ConsentConfirmation> ConsentConfirmations => Set<ConsentConfirmation>();
    public DbSet<Import> Imports => Set<Import>();
    public DbSet<SavedMapping> ImportMappings => Set<SavedMapping>();

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<CustomerKind>();
        configurationBuilder.EnumAsWord<CustomerState>();
        configurationBuilder.EnumAsWord<Lifecycle>();
        configurationBuilder.EnumAsWord<SourceType>();
        configurationBuilder.EnumAsWord<Tier>();
        configurationBuilder.EnumAsWord<ConsentChannel>();
        configurationBuilder.EnumAsWord<ConsentState>();
        configurationBuilder.EnumAsWord<LegalBasis>();
        configurationBuilder.EnumAsWord<ImportFormat>();
        configurationBuilder.EnumAsWord<ImportStatus>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Customer>(customer =>
        {
            customer.ToTable("customers");
            customer.Property(c => c.Id).ValueGeneratedNever();
            customer.Property(c => c.Version).IsConcurrencyToken();
            customer.Property(c => c.Emails).AsJson();
            customer.Property(c => c.Phones).AsJson();
            customer.Property(c => c.Addresses).AsJson();
            customer.Property(c => c.Attributes).AsJson();
            customer.HasMany(c => c.Identifiers).WithOne().HasForeignKey(i => i.CustomerId);
            customer.HasMany(c => c.ExternalIds).WithOne().HasForeignKey(e => e.CustomerId);
        });
        modelBuilder.Entity<CustomerIdentifier>(identifier =>
        {
            identifier.ToTable("customer_identifiers");
            identifier.HasKey(i => new { i.Kind, i.Value, i.CustomerId });
        });
        modelBuilder.Entity<ExternalId>(externalId =>
        {
            externalId.ToTable("external_ids");
            externalId.HasKey(e => new { e.System, e.Value });
            externalId.Property(e => e.Value).HasColumnName("external_id");
        });
        modelBuilder.Entity<DuplicateOverride>(o =>
        {
            o.ToTable("duplicate_overrides");
            o.HasKey(d => d.CustomerId);
        });
        modelBuilder.Entity<Consent>(consent =>
        {
            consent.ToTable("consents");
            consent.Property(c => c.Id).ValueGeneratedNever();
            consent.Property(c => c.Evidence!).AsJson();
        });
        modelBuilder.Entity<ConsentConfirmation>(confirmation =>
        {
            confirmation.ToTable("consent_confirmations");
            confirmation.HasKey(c => c.ConsentId);
            confirmation.Property(c => c.ConsentId).ValueGeneratedNever();
            // Tells only the order of inserts.
            confirmation.HasOne<Consent>().WithOne().HasForeignKey<ConsentConfirmation>(c => c.ConsentId);
        });
        modelBuilder.Entity<Import>(import =>
        {
            import.ToTable("imports");
            import.Property(i => i.Id).ValueGeneratedNever();
            import.Property(i => i.Mapping).AsJson();
        });
        modelBuilder.Entity<SavedMapping>(mapping =>
        {
            mapping.ToTable("import_mappings");
            mapping.HasKey(m => m.Name);
            mapping.Property(m => m.Definition).AsJson();
            mapping.Property(m => m.Version).IsConcurrencyToken();
        });
        modelBuilder.Entity<CurrentConsent>(current =>
        {
            current.ToTable("consent_states");
            current.Property(c => c.Id).ValueGeneratedNever();
            current.Property(c => c.Version).IsConcurrencyToken();
        });
    }
}

/// <summary>Who created a customer although candidates were shown, and why.</summary>
internal sealed record DuplicateOverride(Guid CustomerId, Guid[] CandidateIds, string Reason, string Actor, DateTimeOffset At);
