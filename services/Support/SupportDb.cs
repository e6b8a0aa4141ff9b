using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Support.Domain;
using Microsoft.EntityFrameworkCore;

namespace Crm.Support;

internal sealed class SupportDb(DbContextOptions<SupportDb> options) : CustomerCopyDb(options)
{
    public DbSet<Case> Cases => Set<Case>();
    public DbSet<CaseMessage> Messages => Set<CaseMessage>();
    public DbSet<CaseHistoryEntry> History => Set<CaseHistoryEntry>();

    public override IReadOnlyList<OwnedRows> OwnedRows { get; } = [new("cases", new("case", Ids.Case, "opened_at"))];

    public override IReadOnlyList<UseRows> Uses { get; } = [new("cases", "updated_at", "open_case", "status <> 'solved'")];

    /// <summary>What happened last is a part of the event.</summary>
    public override IReadOnlyList<ReplayedRows> Replayed => [ReplayedRows.Of(Cases, "cases", typeof(CaseChanged), TellAsync)];

    private async Task<IReadOnlyList<ReplayedRow>> TellAsync(IReadOnlyList<Case> cases, CancellationToken ct)
    {
        Guid[] ids = [.. cases.Select(c => c.Id)];
        var last = await History.SelectFrom($"""
            unnest({ids}) AS of_case CROSS JOIN LATERAL (SELECT * FROM case_history WHERE case_id = of_case ORDER BY number DESC LIMIT 1) AS h
            """).AsNoTracking().ToDictionaryAsync(h => h.CaseId, ct);
        return [.. cases.Select(c =>
        {
            c.History.Add(last[c.Id]);
            return new ReplayedRow(c.Id, c.Changed());
        })];
    }

    public override IReadOnlyList<ErasureStep> ErasureSteps =>
    [
        .. base.ErasureSteps,
        // Whoever is replying to one of them is waited for.
        new(null, $"SELECT FROM cases WHERE {CustomerCopy.OwnedRows.OfErased} FOR UPDATE"),
        new("case_messages", $"DELETE FROM case_messages WHERE case_id IN (SELECT id FROM cases WHERE {CustomerCopy.OwnedRows.OfErased}) RETURNING id", Ids.CaseMessage),
        new("case_history", $"DELETE FROM case_history WHERE case_id IN (SELECT id FROM cases WHERE {CustomerCopy.OwnedRows.OfErased})"),
        new("cases", $"DELETE FROM cases WHERE {CustomerCopy.OwnedRows.OfErased} RETURNING id", Ids.Case, "case"),
        // What they wrote about cases of others, under an address of theirs, alone or behind a name, stays without it. Who has read
        // the case before is not told that it is as it was: it has another version.
        new("case_messages", """
            WITH gone AS (
                UPDATE case_messages m SET author = NULL FROM cases k
                WHERE k.id = m.case_id AND strpos(m.author, '@') > 0 AND mailbox_digest(m.author) IN (SELECT decode(d, 'hex') FROM unnest(@mailboxes) AS d)
                    -- The customer of the case may have got the address since: this may come late.
                    AND NOT EXISTS (SELECT FROM customers c WHERE c.id IN (k.customer_id, k.origin_customer_id) AND mailbox_digest(c.primary_email) = mailbox_digest(m.author))
                RETURNING m.id, m.case_id),
            shown AS (UPDATE cases k SET version = k.version + 1 FROM gone g WHERE k.id = g.case_id)
            SELECT id FROM gone
            """, Ids.CaseMessage, Kept: true),
    ];

    /// <summary>The case, locked until the transaction ends: of two changes at once, the second sees what the first left.</summary>
    public async Task<Case?> LockCaseAsync(Guid id, CancellationToken ct) =>
        (await Cases.ForUpdate($"id = {id}").ToListAsync(ct)).SingleOrDefault();

    /// <inheritdoc cref="LockCaseAsync(Guid, CancellationToken)"/>
    public async Task<Case?> LockCaseAsync(string source, string externalId, CancellationToken ct) =>
        (await Cases.ForUpdate($"source = {source} AND external_id = {externalId}").ToListAsync(ct)).SingleOrDefault();

    public override IReadOnlyList<PersonalTable> PersonalTables =>
    [
        .. base.PersonalTables,
        new("cases", $"SELECT to_jsonb(t) - 'event_sequence' FROM cases t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Case, "case"),
        new("case_messages", $"SELECT to_jsonb(t) FROM case_messages t WHERE case_id IN (SELECT id FROM cases WHERE {CustomerCopy.OwnedRows.OfErased}) ORDER BY case_id, id", Ids.CaseMessage),
        new("case_history", $"SELECT to_jsonb(t) FROM case_history t WHERE case_id IN (SELECT id FROM cases WHERE {CustomerCopy.OwnedRows.OfErased}) ORDER BY case_id, number"),
    ];

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        base.ConfigureConventions(configurationBuilder);
        configurationBuilder.EnumAsWord<CaseType>();
        configurationBuilder.EnumAsWord<CasePriority>();
        configurationBuilder.EnumAsWord<CaseStatus>();
        configurationBuilder.EnumAsWord<CaseChange>();
        configurationBuilder.EnumAsWord<MessageDirection>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Case>(c =>
        {
            c.ToTable("cases");
            KeepToRows(c);
            c.Property(x => x.Id).ValueGeneratedNever();
            c.Property(x => x.Version).IsConcurrencyToken();
            c.HasMany(x => x.Messages).WithOne().HasForeignKey(m => m.CaseId);
            c.HasMany(x => x.History).WithOne().HasForeignKey(h => h.CaseId);
        });
        modelBuilder.Entity<CaseMessage>(message =>
        {
            message.ToTable("case_messages");
            message.Property(m => m.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<CaseHistoryEntry>(entry =>
        {
            entry.ToTable("case_history");
            entry.HasKey(h => new { h.CaseId, h.Number });
            entry.Property(h => h.Number).ValueGeneratedNever();
        });
    }
}
