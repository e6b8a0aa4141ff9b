using Crm.CustomerCopy;
using Crm.Hosting.Data;
using Crm.Interactions.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Interactions;

internal sealed class InteractionsDb(DbContextOptions<InteractionsDb> options) : CustomerCopyDb(options)
{
    public DbSet<Interaction> Interactions => Set<Interaction>();
    public DbSet<TimelineEntry> Timeline => Set<TimelineEntry>();

    /// <summary>The interaction, locked until the transaction ends, so that what is decided on it still holds when it is saved.</summary>
    public async Task<Interaction?> LockInteractionAsync(Guid id, CancellationToken ct) =>
        (await Interactions.FromSql($"SELECT * FROM interactions WHERE id = {id} FOR UPDATE").ToListAsync(ct)).SingleOrDefault();

    /// <inheritdoc cref="LockInteractionAsync(Guid, CancellationToken)"/>
    public async Task<Interaction?> LockInteractionAsync(string source, string externalId, CancellationToken ct) =>
        (await Interactions.FromSql($"SELECT * FROM interactions WHERE source = {source} AND external_id = {externalId} FOR UPDATE").ToListAsync(ct)).SingleOrDefault();

    /// <summary>Puts the entry on the timeline unless a version that is as new is there: late and repeated events have no effect.</summary>
    public Task StoreAsync(TimelineEntry entry, CancellationToken ct) => Database.ExecuteSqlAsync($"""
        INSERT INTO timeline (type, id, customer_id, at, summary, version)
        VALUES ({entry.Type.ToWord()}, {entry.Id}, {entry.CustomerId}, {entry.At}, {entry.Summary}, {entry.Version})
        ON CONFLICT (type, id) DO UPDATE SET
            customer_id = excluded.customer_id, at = excluded.at, summary = excluded.summary, version = excluded.version
        WHERE timeline.version < excluded.version
        """, ct);

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<InteractionChannel>();
        configurationBuilder.EnumAsWord<InteractionDirection>();
        configurationBuilder.EnumAsWord<TimelineType>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Interaction>(interaction =>
        {
            interaction.ToTable("interactions");
            interaction.Property(i => i.Id).ValueGeneratedNever();
            interaction.Property(i => i.Version).IsConcurrencyToken();
            interaction.Property(i => i.Participants).AsJson();
        });
        modelBuilder.Entity<TimelineEntry>(entry =>
        {
            entry.ToTable("timeline");
            entry.HasKey(e => new { e.Type, e.Id });
        });
    }
}
