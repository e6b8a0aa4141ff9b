using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Domain.Erasures;
using Crm.Contacts.Domain.Exports;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Domain.Retention;
using Crm.Contacts.Features.ChangeRequests;
using Crm.Contacts.Features.Grants;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts;

internal sealed class ContactsDb(DbContextOptions<ContactsDb> options) : CrmDbContext(options)
{
    /// <summary>Names of constraints that handlers catch.</summary>
    public const string ExternalIdKey = "external_ids_pkey";
    public const string TagNameKey = "tags_name_key";

    public DbSet<Customer> Customers => Set<Customer>();
    public DbSet<CustomField> CustomFields => Set<CustomField>();
    public DbSet<CustomerIdentifier> Identifiers => Set<CustomerIdentifier>();
    public DbSet<ExternalId> ExternalIds => Set<ExternalId>();
    public DbSet<DuplicateOverride> DuplicateOverrides => Set<DuplicateOverride>();
    public DbSet<DuplicateScan> DuplicateScans => Set<DuplicateScan>();
    public DbSet<Duplicate> Duplicates => Set<Duplicate>();
    public DbSet<BlockedIdentifier> BlockedIdentifiers => Set<BlockedIdentifier>();
    public DbSet<Consent> Consents => Set<Consent>();
    public DbSet<CurrentConsent> CurrentConsents => Set<CurrentConsent>();
    public DbSet<ConsentConfirmation> ConsentConfirmations => Set<ConsentConfirmation>();
    public DbSet<LifecycleChange> LifecycleChanges => Set<LifecycleChange>();
    public DbSet<PlacedOrder> PlacedOrders => Set<PlacedOrder>();
    public DbSet<Tier> Tiers => Set<Tier>();
    public DbSet<Tag> Tags => Set<Tag>();
    public DbSet<TagChange> TagChanges => Set<TagChange>();
    public DbSet<BinnedCustomer> RecycleBin => Set<BinnedCustomer>();
    public DbSet<Relationship> Relationships => Set<Relationship>();
    public DbSet<AccountManager> AccountManagers => Set<AccountManager>();
    public DbSet<ChangeRequest> ChangeRequests => Set<ChangeRequest>();
    public DbSet<Grant> Grants => Set<Grant>();
    public DbSet<Import> Imports => Set<Import>();
    public DbSet<SavedMapping> ImportMappings => Set<SavedMapping>();
    public DbSet<Merge> Merges => Set<Merge>();
    public DbSet<MergePreview> MergePreviews => Set<MergePreview>();
    public DbSet<Erasure> Erasures => Set<Erasure>();
    public DbSet<LegalHold> LegalHolds => Set<LegalHold>();
    public DbSet<RetentionPolicy> RetentionPolicies => Set<RetentionPolicy>();
    public DbSet<RetentionRun> RetentionRuns => Set<RetentionRun>();
    public DbSet<RetentionResult> RetentionResults => Set<RetentionResult>();

    public DbSet<Export> Exports => Set<Export>();

    public override IReadOnlyList<ErasureStep> ErasureSteps => Features.Erasures.ErasureSteps.All;

    public override IReadOnlyList<PersonalTable> PersonalTables => Features.Exports.ContactsTables.All;

    public override PersonalTable PersonalHistory => Features.Exports.ContactsTables.History;

    /// <summary>The grants that hold now.</summary>
    public IQueryable<Grant> PresentGrants() => Grants.AsNoTracking().At(Now);

    public override async Task<IReadOnlyList<DepartmentGrant>> ReadGrantsAsync(IReadOnlyList<string> departments, CancellationToken ct) => await PresentGrants()
        .Where(g => g.CustomerId == null && departments.Contains(g.GranteeDepartment))
        .Select(g => new DepartmentGrant(g.OwnerDepartment, g.FieldGroup, g.Access == GrantAccess.Write)).ToListAsync(ct);

    /// <summary>With what it overtakes.</summary>
    public override async Task<int> SaveChangesAsync(bool acceptAllChangesOnSuccess, CancellationToken cancellationToken = default)
    {
        await this.OvertakeAsync(cancellationToken);
        return await base.SaveChangesAsync(acceptAllChangesOnSuccess, cancellationToken);
    }

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<CustomerKind>();
        configurationBuilder.EnumAsWord<CustomerState>();
        configurationBuilder.EnumAsWord<CustomFieldType>();
        configurationBuilder.EnumAsWord<AppliesTo>();
        configurationBuilder.EnumAsWord<FieldIndexState>();
        configurationBuilder.EnumAsWord<Lifecycle>();
        configurationBuilder.EnumAsWord<LifecycleCause>();
        configurationBuilder.EnumAsWord<RelationshipType>();
        configurationBuilder.EnumAsWord<SourceType>();
        configurationBuilder.EnumAsWord<ConsentChannel>();
        configurationBuilder.EnumAsWord<ConsentState>();
        configurationBuilder.EnumAsWord<LegalBasis>();
        configurationBuilder.EnumAsWord<ChangeRequestStatus>();
        configurationBuilder.EnumAsWord<ChangeOperation>();
        configurationBuilder.EnumAsWord<GrantAccess>();
        configurationBuilder.EnumAsWord<ImportFormat>();
        configurationBuilder.EnumAsWord<ImportStatus>();
        configurationBuilder.EnumAsWord<MergeStatus>();
        configurationBuilder.EnumAsWord<MergePhase>();
        configurationBuilder.EnumAsWord<ScanMode>();
        configurationBuilder.EnumAsWord<ScanStatus>();
        configurationBuilder.EnumAsWord<DuplicateStatus>();
        configurationBuilder.EnumAsWord<IdentifierKind>();
        configurationBuilder.EnumAsWord<ErasureStatus>();
        configurationBuilder.EnumAsWord<ExportStatus>();
        configurationBuilder.EnumAsWord<RetentionStatus>();
        configurationBuilder.EnumAsWord<RetentionOutcome>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        MapCustomers(modelBuilder);
        MapFieldsTiersAndTags(modelBuilder);
        MapRelationships(modelBuilder);
        MapChangeRequestsAndGrants(modelBuilder);
        MapDuplicates(modelBuilder);
        MapConsents(modelBuilder);
        MapImports(modelBuilder);
        MapMerges(modelBuilder);
        MapErasures(modelBuilder);
        MapExports(modelBuilder);
        MapRetention(modelBuilder);
    }

    private void MapCustomers(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Customer>(customer =>
        {
            customer.ToTable("customers");
            customer.Property(c => c.Id).ValueGeneratedNever();
            customer.Property(c => c.Version).IsConcurrencyToken();
            customer.Property(c => c.Emails).AsJson();
            customer.Property(c => c.Phones).AsJson();
            customer.Property(c => c.Addresses).AsJson();
            customer.Property(c => c.Attributes).AsJson();
            customer.Property(c => c.Layers!).AsJson();
            customer.Property(c => c.OwnExternalIds!).AsJson();
            customer.HasQueryFilter(c => (AllRows || RowDepartments.Contains(c.Department!) || EF.Functions.JsonContains(c.Attributes, RowAttributes!))
                && (AllDepartments || c.Department == null || !UnseenDepartments.Contains(c.Department) || Set<Grant>().Any(g =>
                    g.CustomerId == c.Id && g.OwnerDepartment == c.Department && CallerDepartments.Contains(g.GranteeDepartment)
                    && g.EndedAt == null && (g.ExpiresAt == null || g.ExpiresAt > Now))));
            customer.HasMany(c => c.Identifiers).WithOne().HasForeignKey(i => i.CustomerId);
            customer.HasMany(c => c.ExternalIds).WithOne().HasForeignKey(e => e.CustomerId);
            customer.HasMany(c => c.LifecycleChanges).WithOne().HasForeignKey(l => l.CustomerId);
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
        modelBuilder.Entity<LifecycleChange>(change =>
        {
            change.ToTable("lifecycle_changes");
            change.Property(l => l.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<PlacedOrder>(order =>
        {
            order.ToTable("placed_orders");
            order.Property(o => o.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<BinnedCustomer>(binned =>
        {
            binned.ToTable("recycle_bin");
            binned.HasKey(b => b.CustomerId);
            binned.Ignore(b => b.Cause);
            binned.HasOne(b => b.Customer).WithOne().HasForeignKey<BinnedCustomer>(b => b.CustomerId);
        });
    }

    private static void MapFieldsTiersAndTags(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<CustomField>(field =>
        {
            field.ToTable("custom_fields");
            field.Property(f => f.Id).ValueGeneratedNever();
            field.Property(f => f.Version).IsConcurrencyToken();
            field.Property(f => f.Options).AsJson();
        });
        modelBuilder.Entity<Tier>(tier =>
        {
            tier.ToTable("tiers");
            tier.Property(t => t.Id).ValueGeneratedNever();
            tier.Property(t => t.Version).IsConcurrencyToken();
            tier.Ignore(t => t.Entitlements);
        });
        modelBuilder.Entity<Tag>(tag =>
        {
            tag.ToTable("tags");
            tag.Property(t => t.Id).ValueGeneratedNever();
            tag.Property(t => t.Version).IsConcurrencyToken();
        });
        modelBuilder.Entity<TagChange>(change =>
        {
            change.ToTable("tag_changes");
            change.Property(c => c.Id).ValueGeneratedNever();
        });
    }

    private static void MapRelationships(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Relationship>(relationship =>
        {
            relationship.ToTable("relationships");
            relationship.Property(r => r.Id).ValueGeneratedNever();
            relationship.Property(r => r.Version).IsConcurrencyToken();
            relationship.Ignore(r => r.Terms);
            relationship.HasOne(r => r.From).WithMany().HasForeignKey(r => r.FromId);
            relationship.HasOne(r => r.To).WithMany().HasForeignKey(r => r.ToId);
        });
        modelBuilder.Entity<AccountManager>(manager =>
        {
            manager.ToTable("account_managers");
            manager.Property(a => a.Id).ValueGeneratedNever();
            manager.HasOne(a => a.Customer).WithMany().HasForeignKey(a => a.CustomerId);
        });
    }

    private static void MapChangeRequestsAndGrants(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<ChangeRequest>(request =>
        {
            request.ToTable("change_requests");
            request.Property(r => r.Id).ValueGeneratedNever();
            request.Property(r => r.Before).AsJson();
            request.Property(r => r.Wanted).AsJson();
            request.Property(r => r.Approvals).AsJson();
            request.Ignore(r => r.IsOfMerge);
            request.Ignore(r => r.HoldsConcerned);
            request.Ignore(r => r.Asked);
            request.HasOne(r => r.Customer).WithMany().HasForeignKey(r => r.CustomerId);
        });
        modelBuilder.Entity<Grant>(grant =>
        {
            grant.ToTable("grants");
            grant.Property(g => g.Id).ValueGeneratedNever();
            grant.Property(g => g.Version).IsConcurrencyToken();
            grant.Ignore(g => g.Scope);
        });
    }

    private static void MapDuplicates(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<DuplicateOverride>(o =>
        {
            o.ToTable("duplicate_overrides");
            o.HasKey(d => d.CustomerId);
        });
        modelBuilder.Entity<DuplicateScan>(scan =>
        {
            scan.ToTable("duplicate_scans");
            scan.Property(s => s.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<Duplicate>(duplicate =>
        {
            duplicate.ToTable("duplicates");
            duplicate.Property(d => d.Id).ValueGeneratedNever();
            duplicate.Property(d => d.Fields).AsJson();
        });
        modelBuilder.Entity<BlockedIdentifier>(blocked =>
        {
            blocked.ToTable("blocked_identifiers");
            blocked.Property(b => b.Id).ValueGeneratedNever();
        });
    }

    private static void MapConsents(ModelBuilder modelBuilder)
    {
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
        modelBuilder.Entity<CurrentConsent>(current =>
        {
            current.ToTable("consent_states");
            current.Property(c => c.Id).ValueGeneratedNever();
            current.Property(c => c.Version).IsConcurrencyToken();
        });
    }

    private static void MapImports(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Import>(import =>
        {
            import.ToTable("imports");
            import.Property(i => i.Id).ValueGeneratedNever();
            import.Property(i => i.Mapping).AsJson();
            import.Ignore(i => i.MatchKeys);
        });
        modelBuilder.Entity<SavedMapping>(mapping =>
        {
            mapping.ToTable("import_mappings");
            mapping.HasKey(m => m.Name);
            mapping.Property(m => m.Definition).AsJson();
            mapping.Property(m => m.Version).IsConcurrencyToken();
        });
    }

    private static void MapMerges(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Merge>(merge =>
        {
            merge.ToTable("merges");
            merge.Property(m => m.Id).ValueGeneratedNever();
            merge.Property(m => m.KeptEdits!).AsJson();
            merge.Property(m => m.CarriedConsents!).AsJson();
            merge.Property(m => m.CarriedHolds!).AsJson();
            merge.Property(m => m.NotGivenBack!).AsJson();
            merge.HasMany(m => m.Receipts).WithOne().HasForeignKey(r => r.MergeId);
        });
        modelBuilder.Entity<ServiceReceipt>(receipt =>
        {
            receipt.ToTable("merge_receipts");
            receipt.HasKey(r => new { r.MergeId, r.Phase, r.Service });
            receipt.Property(r => r.Counts).AsJson();
            receipt.Property(r => r.StayedCounts).AsJson();
            receipt.Property(r => r.Stayed).AsJson();
            receipt.Property(r => r.Blockers!).AsJson();
        });
        modelBuilder.Entity<MergePreview>(preview =>
        {
            preview.ToTable("merge_previews");
            preview.HasKey(p => p.TokenHash);
            preview.Property(p => p.Members).AsJson();
            preview.Property(p => p.Choices).AsJson();
        });
    }

    private static void MapErasures(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Erasure>(erasure =>
        {
            erasure.ToTable("erasures");
            erasure.Property(e => e.Id).ValueGeneratedNever();
            erasure.HasMany(e => e.Receipts).WithOne().HasForeignKey(r => r.ErasureId);
        });
        modelBuilder.Entity<SignedReceipt>(receipt =>
        {
            receipt.ToTable("erasure_receipts");
            receipt.HasKey(r => new { r.ErasureId, r.Service });
            receipt.Property(r => r.Erased).AsJson();
            receipt.Property(r => r.Kept).AsJson();
        });
        modelBuilder.Entity<LegalHold>(hold =>
        {
            hold.ToTable("legal_holds");
            hold.Property(h => h.Id).ValueGeneratedNever();
        });
    }

    private static void MapExports(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Export>(export =>
        {
            export.ToTable("exports");
            export.Property(e => e.Id).ValueGeneratedNever();
            export.HasMany(e => e.Parts).WithOne().HasForeignKey(p => p.ExportId);
        });
        modelBuilder.Entity<ExportPart>(part =>
        {
            part.ToTable("export_parts");
            part.HasKey(p => new { p.ExportId, p.Service });
            part.Property(p => p.Counts).AsJson();
        });
    }

    private static void MapRetention(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<RetentionPolicy>(policy =>
        {
            policy.ToTable("retention_policies");
            policy.Property(p => p.Id).ValueGeneratedNever();
            policy.Property(p => p.Version).IsConcurrencyToken();
        });
        modelBuilder.Entity<RetentionRun>(run =>
        {
            run.ToTable("retention_runs");
            run.Property(r => r.Id).ValueGeneratedNever();
            run.Property(r => r.KeptFor).AsJson();
            run.Ignore(r => r.IsFull);
            run.Ignore(r => r.Cause);
        });
        modelBuilder.Entity<RetentionResult>(result =>
        {
            result.ToTable("retention_results");
            result.HasKey(r => new { r.RunId, r.CustomerId });
        });
    }
}

/// <summary>Who created a customer although candidates were shown, and why.</summary>
internal sealed record DuplicateOverride(Guid CustomerId, Guid[] CandidateIds, string Reason, string Actor, DateTimeOffset At)
{
    /// <summary>In the audit log, of the customer who was created.</summary>
    public const string RecordType = "duplicate_override";
}
