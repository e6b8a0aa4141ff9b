using System.Text.Json;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.CustomerCopy.Projections;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Interactions.Domain;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Interactions;

internal sealed class InteractionsDb(DbContextOptions<InteractionsDb> options) : CustomerCopyDb(options)
{
    public DbSet<Interaction> Interactions => Set<Interaction>();
    public DbSet<TimelineEntry> Timeline => Set<TimelineEntry>();

    /// <summary>The interaction, locked until the transaction ends, so that what is decided on it still holds when it is saved.</summary>
    public async Task<Interaction?> LockInteractionAsync(Guid id, CancellationToken ct) =>
        (await Interactions.ForUpdate($"id = {id}").ToListAsync(ct)).SingleOrDefault();

    /// <inheritdoc cref="LockInteractionAsync(Guid, CancellationToken)"/>
    public async Task<Interaction?> LockInteractionAsync(string source, string externalId, CancellationToken ct) =>
        (await Interactions.ForUpdate($"source = {source} AND external_id = {externalId}").ToListAsync(ct)).SingleOrDefault();

    public override IReadOnlyList<OwnedRows> OwnedRows { get; } =
    [
        new("interactions", new("interaction", Ids.Interaction, "created_at")),
        new("timeline", Copied: true),
    ];

    public override IReadOnlyList<UseRows> Uses { get; } = [new("interactions", "greatest(started_at, updated_at)")];

    public override IReadOnlyList<ErasureStep> ErasureSteps =>
    [
        .. base.ErasureSteps,
        new("interactions", $"DELETE FROM interactions WHERE {CustomerCopy.OwnedRows.OfErased} RETURNING id", Ids.Interaction, "interaction"),
        // Who else took part in those of others, by an address of theirs, alone or behind a name, is taken out. Who changes
        // the interaction by its version cannot write the address back.
        new("interactions", $"""
            WITH found AS MATERIALIZED (
                SELECT i.id, {NotNow("i.customer_id, i.origin_customer_id")} AS mailboxes FROM interactions i
                WHERE i.participants::text LIKE '%@%' AND mailbox_digests(i.participants) && {Theirs}),
            changed AS (
                UPDATE interactions i SET version = i.version + 1, participants = (
                    SELECT coalesce(jsonb_agg(p.value ORDER BY p.n), '[]') FROM jsonb_array_elements(i.participants) WITH ORDINALITY AS p (value, n)
                    WHERE NOT (mailbox_digests(p.value) && f.mailboxes))
                FROM found f WHERE i.id = f.id AND mailbox_digests(i.participants) && f.mailboxes
                RETURNING i.id, i.version),
            told AS (UPDATE timeline t SET version = c.version FROM changed c WHERE t.type = 'interaction' AND t.id = c.id)
            SELECT id FROM changed
            """, Ids.Interaction, Kept: true),
        // The history knows who took part before.
        new("audit_value", $"""
            DELETE FROM audit_value v USING audit_entry e
            WHERE e.id = v.entry_id AND e.record_type = 'interaction' AND v.changes LIKE '%"participants"%@%'
                AND mailbox_digests(v.changes::jsonb -> 'participants') && {Theirs}
                AND mailbox_digests(v.changes::jsonb -> 'participants') && {NotNow("e.customer_id, v.origin_customer_id")}
            RETURNING e.record_id
            """, Ids.Interaction, IdsStay: true),
        new("timeline", $"DELETE FROM timeline WHERE {CustomerCopy.OwnedRows.OfErased}"),
    ];

    /// <summary>Digests of the erased's mailboxes: the same for every row, so that an index finds it.</summary>
    private const string Theirs = "ARRAY(SELECT decode(d, 'hex') FROM unnest(@mailboxes) AS d)";

    /// <summary>Those that none of the row's customers has got since: an erasure may come late.</summary>
    private static string NotNow(string customers) => $"""
        ARRAY(
            SELECT decode(d, 'hex') FROM unnest(@mailboxes) AS d
            WHERE NOT EXISTS (SELECT FROM customers c WHERE c.id IN ({customers}) AND sha256(convert_to(lower(c.primary_email), 'UTF8')) = decode(d, 'hex')))
        """;

    /// <summary>
    /// Puts the entry on the timeline unless a version that is as new is there: late and repeated events have no effect.
    /// Its owner is right already, or stays what it is.
    /// </summary>
    public Task StoreAsync(TimelineEntry entry, CancellationToken ct) => Database.ExecuteSqlAsync($"""
        INSERT INTO timeline (type, id, customer_id, origin_customer_id, at, summary, version, asked_groups)
        VALUES ({entry.Type.ToWord()}, {entry.Id}, {entry.CustomerId}, {entry.OriginCustomerId}, {entry.At}, {entry.Summary}, {entry.Version}, {entry.AskedGroups})
        ON CONFLICT (type, id) DO UPDATE SET
            customer_id = CASE WHEN timeline.origin_customer_id = excluded.origin_customer_id THEN timeline.customer_id ELSE excluded.customer_id END,
            origin_customer_id = excluded.origin_customer_id, at = excluded.at, summary = excluded.summary, version = excluded.version,
            asked_groups = excluded.asked_groups
        WHERE timeline.version < excluded.version
        """, ct);

    /// <summary>An entry from another service, for whom its customer stands now; none of somebody who was erased.</summary>
    public async Task StoreFromEventAsync(TimelineEntry entry, CancellationToken ct)
    {
        if (await HoldCustomerAsync(entry.OriginCustomerId, ct) is { } owner)
        {
            await StoreAsync(entry with { CustomerId = owner }, ct);
        }
    }

    /// <summary>
    /// The entries as their records are, also where one of the very version says something else; newer ones stay, and nobody
    /// who was erased gets any: those that they have are removed. In the transaction at hand.
    /// </summary>
    /// <param name="keepWords">What they say was not all kept where their records are: an entry that is there keeps what it says.</param>
    public async Task<Repairs> RepairAsync(IReadOnlyList<TimelineEntry> entries, bool keepWords, CancellationToken ct)
    {
        await HoldMergesAsync(ct);
        var rows = JsonSerializer.Serialize(entries.Select(e => new
        {
            type = e.Type.ToWord(),
            id = e.Id,
            origin = e.OriginCustomerId,
            at = e.At,
            summary = e.Summary,
            version = e.Version,
            asked = e.AskedGroups,
        }));
        const string Summary = "CASE WHEN @keep AND t.summary <> '' THEN t.summary ELSE excluded.summary END";
        // Never fewer than are there, and none is all of them: who was not to see it when it was sent is not to see it when a field
        // has been opened since.
        const string Asked = """
            CASE WHEN t.asked_groups IS NULL THEN NULL
            WHEN @keep OR excluded.asked_groups IS NULL OR t.asked_groups @> excluded.asked_groups THEN t.asked_groups
            ELSE ARRAY(SELECT unnest(t.asked_groups) UNION SELECT unnest(excluded.asked_groups) ORDER BY 1) END
            """;
        const string Erased = """
            DELETE FROM timeline t USING jsonb_to_recordset(@rows) AS r(type text, id uuid, origin uuid), customers c
            WHERE t.type = r.type AND t.id = r.id AND t.origin_customer_id = r.origin AND c.id = r.origin AND c.state = 'erased'
            """;
        const string Sql = $"""
            WITH sent AS MATERIALIZED (
                SELECT r.*, hold_customer(r.origin) AS owner
                FROM jsonb_to_recordset(@rows) AS r(type text, id uuid, origin uuid, at timestamptz, summary text, version bigint, asked text[]))
            INSERT INTO timeline AS t (type, id, customer_id, origin_customer_id, at, summary, version, asked_groups)
            SELECT type, id, owner, origin, at, summary, version, asked FROM sent WHERE owner IS NOT NULL ORDER BY type, id
            ON CONFLICT (type, id) DO UPDATE SET
                customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id, at = excluded.at, summary = {Summary},
                version = excluded.version, asked_groups = {Asked}
            WHERE t.version < excluded.version OR (t.version = excluded.version
                AND (t.customer_id, t.origin_customer_id, t.at, t.summary, t.asked_groups)
                    IS DISTINCT FROM (excluded.customer_id, excluded.origin_customer_id, excluded.at, {Summary}, {Asked}))
            """;
        return new(
            await Database.ExecuteSqlRawAsync(Sql, [Json(rows), new NpgsqlParameter<bool>("keep", keepWords)], ct),
            await Database.ExecuteSqlRawAsync(Erased, [Json(rows)], ct));
    }

    public override IReadOnlyList<PersonalTable> PersonalTables =>
    [
        .. base.PersonalTables,
        new("interactions", $"SELECT to_jsonb(t) - 'event_sequence' FROM interactions t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY id", Ids.Interaction, "interaction"),
        new("timeline", $"SELECT to_jsonb(t) - 'asked_groups' FROM timeline t WHERE {CustomerCopy.OwnedRows.OfErased} ORDER BY at, id"),
    ];

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
            KeepToRows(interaction);
            interaction.Property(i => i.Id).ValueGeneratedNever();
            interaction.Property(i => i.Version).IsConcurrencyToken();
            interaction.Property(i => i.Participants).AsJson();
        });
        modelBuilder.Entity<TimelineEntry>(entry =>
        {
            entry.ToTable("timeline");
            KeepToRows(entry);
            entry.HasKey(e => new { e.Type, e.Id });
        });
    }
}
