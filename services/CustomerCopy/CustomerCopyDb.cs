using System.ComponentModel.DataAnnotations.Schema;
using System.Text.Json;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.CustomerCopy.Projections;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using NpgsqlTypes;

namespace Crm.CustomerCopy;

/// <summary>A service's database with the copy of customers in it.</summary>
public abstract class CustomerCopyDb(DbContextOptions options) : CrmDbContext(options)
{
    public DbSet<Customer> Customers => Set<Customer>();
    public DbSet<Tier> Tiers => Set<Tier>();
    public DbSet<Grant> Grants => Set<Grant>();
    public DbSet<CustomerConsent> CustomerConsents => Set<CustomerConsent>();

    /// <summary>The tables whose rows follow their customers through merges.</summary>
    public virtual IReadOnlyList<OwnedRows> OwnedRows => [];

    /// <summary>By which rows a customer is one with whom this service has something to do.</summary>
    public virtual IReadOnlyList<UseRows> Uses => [];

    /// <summary>Of rows with a <c>CustomerId</c> those whose customer is not in the recycle bin: for lists. They are there again when it is restored.</summary>
    public IQueryable<T> OutOfBin<T>(IQueryable<T> rows) where T : class =>
        rows.Where(r => !Customers.Any(c => c.Id == EF.Property<Guid>(r, "CustomerId") && c.State == "deleted"));

    /// <summary>What forbids that customers become one.</summary>
    /// <param name="members">By every id under which their rows may have been recorded: which of the customers it stands for.</param>
    public virtual Task<IReadOnlyList<MergeBlocker>> FindMergeBlockersAsync(IReadOnlyDictionary<Guid, Guid> members, CancellationToken ct) =>
        Task.FromResult<IReadOnlyList<MergeBlocker>>([]);

    /// <summary>
    /// What would have forbidden a merge that is being applied here, and came after Contacts had asked for it. In the
    /// merge's transaction.
    /// </summary>
    public virtual Task<IReadOnlyList<MergeBlocker>> FindLateBlockersAsync(Guid survivor, Guid[] absorbed, CancellationToken ct) =>
        Task.FromResult<IReadOnlyList<MergeBlocker>>([]);

    /// <summary>
    /// Whom a customer id stands for; that stays so until the transaction ends. For rows from events, whose customer may
    /// not be in the copy yet. Null when the customer was erased or removed: the row is not to be written.
    /// </summary>
    public Task<Guid?> HoldCustomerAsync(Guid customer, CancellationToken ct) =>
        Database.SqlQuery<Guid?>($"SELECT hold_customer({customer}) AS \"Value\"").SingleAsync(ct);

    /// <summary>No merge is made or undone here until the transaction ends: for writes about many customers at once.</summary>
    public Task HoldMergesAsync(CancellationToken ct) =>
        Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock_shared(hashtextextended('customer merges', 0))", ct);

    /// <summary>
    /// Stores the snapshots that are newer than the rows; many in one statement. Where one makes or ends a merge, the
    /// rows of this service are moved in the same transaction, whichever message brings it.
    /// </summary>
    internal async Task StoreAsync(IReadOnlyCollection<CustomerSnapshot> snapshots, CancellationToken ct)
    {
        var newest = NewestOf(snapshots);
        var rows = RowsOf(newest);

        // Nearly always nobody is merged: one statement, which writes nothing where there is more to do.
        if (newest.TrueForAll(s => s.SurvivorId is null)
            && (await ExecuteAsync(UpsertUnmerged, rows, ct) == newest.Count
                || !await Database.SqlQueryRaw<bool>($"SELECT EXISTS ({NewerThanStored}) AS \"Value\"", Json(rows)).SingleAsync(ct)))
        {
            return;
        }

        await InTransactionAsync(async () =>
        {
            await StoreMergesAsync(rows, ct);
            return true;
        }, ct);
    }

    /// <summary>Of two versions of one customer the newer: a statement can write a row once.</summary>
    private static List<CustomerSnapshot> NewestOf(IEnumerable<CustomerSnapshot> snapshots) =>
        snapshots.GroupBy(s => s.Id, StringComparer.Ordinal).Select(g => g.MaxBy(s => s.Version)!).ToList();

    private static string RowsOf(IEnumerable<CustomerSnapshot> snapshots) => JsonSerializer.Serialize(snapshots.Select(s => new
    {
        id = Ids.Customer.Parse(s.Id),
        s.Version,
        s.Kind,
        display_name = s.DisplayName,
        given_name = s.GivenName,
        family_name = s.FamilyName,
        primary_email = s.PrimaryEmail,
        s.Country,
        s.Locale,
        time_zone = s.TimeZone,
        s.Lifecycle,
        s.Tier,
        s.Department,
        s.Attributes,
        s.State,
        survivor_id = s.SurvivorId is { } survivor ? Ids.Customer.Parse(survivor) : (Guid?)null,
        created_at = s.CreatedAt,
        updated_at = s.UpdatedAt,
        tags = s.Tags ?? [],
    }), EventJson);

    /// <summary>
    /// Edges of the forest change one transaction after the other, and with a lock on each customer whose edge changes,
    /// which waits for those who are writing rows of that customer (<see cref="HoldCustomerAsync"/>).
    /// </summary>
    private async Task StoreMergesAsync(string rows, CancellationToken ct)
    {
        using var unhurried = this.AllowLongStatements();
        await Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock(hashtextextended('customer merges', 0))", ct);
        var changed = await Database.SqlQueryRaw<Guid>("""
            SELECT i.id AS "Value" FROM jsonb_populate_recordset(NULL::customers, @rows) AS i LEFT JOIN customers c USING (id)
            WHERE coalesce(c.version, 0) < i.version AND c.survivor_id IS DISTINCT FROM i.survivor_id
            """, Json(rows)).ToArrayAsync(ct);
        if (changed.Length == 0)
        {
            await ExecuteAsync(UpsertCustomers, rows, ct);
            return;
        }

        await Database.ExecuteSqlAsync($"""
            SELECT pg_advisory_xact_lock(key)
            FROM (SELECT hashtextextended('customer ' || id, 0) AS key FROM unnest({changed}) AS id ORDER BY 1) AS keys
            """, ct);
        // The same customers before and after: whom a changed one has absorbed is not up to its own edge.
        var before = await RootsAsync(changed, ct);
        await ExecuteAsync(UpsertCustomers, rows, ct);
        var after = await RootsAsync(changed, ct);
        var moved = after.Where(n => before.TryGetValue(n.Key, out var was) && was != n.Value).Select(n => n.Key).ToArray();
        if (moved.Length == 0 || OwnedRows.Count == 0)
        {
            return;
        }

        var (was, now) = (Array.ConvertAll(moved, m => before[m]), Array.ConvertAll(moved, m => after[m]));
#pragma warning disable EF1002 // Names of tables are the service's own.
        foreach (var owned in OwnedRows)
        {
            await Database.ExecuteSqlRawAsync($$"""
                UPDATE {{owned.Table}} AS t SET customer_id = m.now
                FROM unnest({0}, {1}, {2}) AS m(id, was, now)
                WHERE t.customer_id = m.was AND t.origin_customer_id = m.id
                """, [moved, was, now], ct);
        }
#pragma warning restore EF1002
    }

    /// <summary>
    /// Makes tombstones of these customers and erases what this service has of them, while nobody writes rows of theirs.
    /// Rows are erased by the customer under whom they were recorded: one who is no longer merged into the erased keeps them.
    /// </summary>
    /// <param name="mailboxes">As the event has them; none from a Contacts of before.</param>
    internal async Task<ErasedCounts> EraseAsync(IReadOnlyList<CustomerSnapshot> tombstones, IReadOnlyList<string>? mailboxes, CancellationToken ct)
    {
        var ids = tombstones.Select(t => Ids.Customer.Parse(t.Id)).ToArray();
        await StoreAloneAsync(tombstones, ids, ct);
        var owners = await Database.SqlQuery<Guid>($"SELECT DISTINCT customer_root(id) AS \"Value\" FROM unnest({ids}) AS id").ToArrayAsync(ct);
        return await this.EraseAsync(ids, owners, [.. tombstones.Select(t => t.Id)], [.. mailboxes ?? []], ct);
    }

    /// <summary>
    /// Customers whose import was undone: who is writing a row of theirs goes first, and from then on nobody does. Those who
    /// have rows here all the same, which came after the undo had asked for them; the rows stay.
    /// </summary>
    internal async Task<IReadOnlyList<Guid>> RemoveAsync(IReadOnlyList<CustomerSnapshot> removed, CancellationToken ct)
    {
        var ids = removed.Select(t => Ids.Customer.Parse(t.Id)).ToArray();
        await StoreAloneAsync(removed, ids, ct);
        return [.. (await FindOwnersAsync(ids, ct)).SelectMany(t => t).Distinct()];
    }

    /// <summary>By table those of the customers who have rows in it that are no copies.</summary>
    internal async Task<ILookup<string, Guid>> FindOwnersAsync(Guid[] customers, CancellationToken ct)
    {
        var tables = OwnedRows.Where(o => !o.Copied).Select(o =>
            $"SELECT '{o.Table}' AS owned, c.id FROM unnest({{0}}) AS c (id) WHERE EXISTS (SELECT FROM {o.Table} t WHERE t.customer_id = c.id)");
#pragma warning disable EF1002 // Names of tables are the service's own.
        return (await Database.SqlQueryRaw<OwnerRow>(string.Join(" UNION ALL ", tables), customers).ToListAsync(ct)).ToLookup(r => r.Owned, r => r.Id);
#pragma warning restore EF1002
    }

    private sealed record OwnerRow([property: Column("owned")] string Owned, [property: Column("id")] Guid Id);

    private async Task StoreAloneAsync(IReadOnlyList<CustomerSnapshot> snapshots, Guid[] ids, CancellationToken ct)
    {
        await Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock(hashtextextended('customer merges', 0))", ct);
        await Database.ExecuteSqlAsync($"""
            SELECT pg_advisory_xact_lock(key)
            FROM (SELECT DISTINCT hashtextextended('customer ' || id, 0) AS key FROM unnest({ids}) AS id ORDER BY 1) AS keys
            """, ct);
        await StoreAsync(snapshots, ct);
    }

    /// <summary>The copy's own consents; a service adds its tables.</summary>
    public override IReadOnlyList<ErasureStep> ErasureSteps { get; } =
    [
        new("customer_consents", "DELETE FROM customer_consents WHERE customer_id = ANY (@ids)"),
        new("department_grants", "DELETE FROM department_grants WHERE customer_id = ANY (@ids)"),
    ];

    /// <summary>The copy itself; a service adds its tables.</summary>
    public override IReadOnlyList<PersonalTable> PersonalTables { get; } =
    [
        new("customers", "SELECT to_jsonb(c) FROM customers c WHERE id = ANY (@ids) ORDER BY id", Ids.Customer),
        new("consents", "SELECT to_jsonb(c) FROM customer_consents c WHERE customer_id = ANY (@ids) ORDER BY customer_id, channel, purpose"),
        new("department_grants", "SELECT to_jsonb(g) FROM department_grants g WHERE customer_id = ANY (@ids) ORDER BY id", Ids.Grant),
    ];

    /// <summary>By every id under which rows of these customers may have been recorded: which of them it stands for, as far as this service has heard.</summary>
    protected internal async Task<IReadOnlyDictionary<Guid, Guid>> FindMembersAsync(Guid survivor, Guid[] absorbed, CancellationToken ct)
    {
        Guid[] tops = [.. absorbed, survivor];
        var rows = await Database.SqlQuery<MemberRow>($"SELECT id, top AS member FROM unnest({tops}) AS top, LATERAL customers_below(ARRAY[top]) AS id").ToListAsync(ct);
        var members = new Dictionary<Guid, Guid>();
        // Once they are merged the absorbed ones stand below the survivor, too.
        foreach (var row in rows.OrderBy(r => r.Member == survivor))
        {
            members.TryAdd(row.Id, row.Member);
        }

        return members;
    }

    private sealed record MemberRow([property: Column("id")] Guid Id, [property: Column("member")] Guid Member);

    private async Task<Dictionary<Guid, Guid>> RootsAsync(Guid[] tops, CancellationToken ct) =>
        (await Database.SqlQuery<RootRow>($"SELECT id, customer_root(id) AS root FROM customers_below({tops}) AS id").ToListAsync(ct)).ToDictionary(r => r.Id, r => r.Root);

    private sealed record RootRow([property: Column("id")] Guid Id, [property: Column("root")] Guid Root);

    private const string UpsertCustomers = $"{InsertCustomers} ORDER BY id {OnConflict}";

    private const string UpsertUnmerged = $"{InsertCustomers} WHERE NOT EXISTS ({NewerThanStored} AND c.survivor_id IS NOT NULL) ORDER BY id {OnConflict} AND customers.survivor_id IS NULL";

    private const string NewerThanStored = "SELECT FROM jsonb_populate_recordset(NULL::customers, @rows) AS i JOIN customers c USING (id) WHERE c.version < i.version";

    // Columns by their names: one that a later release adds has its default, not null, while this one still runs.
    private const string CustomerColumns =
        "id, version, kind, display_name, given_name, family_name, primary_email, country, locale, time_zone, lifecycle, tier, department, attributes, state, survivor_id, created_at, updated_at, tags";

    private const string InsertCustomers = $"INSERT INTO customers ({CustomerColumns}) SELECT {CustomerColumns} FROM jsonb_populate_recordset(NULL::customers, @rows)";

    private const string OnConflict = """
        ON CONFLICT (id) DO UPDATE SET
            version = excluded.version, kind = excluded.kind, display_name = excluded.display_name,
            given_name = excluded.given_name, family_name = excluded.family_name, primary_email = excluded.primary_email,
            country = excluded.country, locale = excluded.locale, time_zone = excluded.time_zone,
            lifecycle = excluded.lifecycle, tier = excluded.tier, department = excluded.department,
            attributes = excluded.attributes, state = excluded.state, survivor_id = excluded.survivor_id,
            created_at = excluded.created_at, updated_at = excluded.updated_at, tags = excluded.tags
        WHERE customers.version < excluded.version
        """;

    internal async Task StoreAsync(IReadOnlyCollection<ConsentRecorded> consents, CancellationToken ct)
    {
        const string Columns = "customer_id, channel, purpose, state, version, at, paused_until";
        await ExecuteAsync($"""
            INSERT INTO customer_consents ({Columns})
            SELECT {Columns} FROM jsonb_populate_recordset(NULL::customer_consents, @rows) WHERE hold_customer(customer_id) IS NOT NULL
            ON CONFLICT (customer_id, channel, purpose) DO UPDATE SET
                state = excluded.state, version = excluded.version, at = excluded.at, paused_until = excluded.paused_until
            WHERE customer_consents.version < excluded.version
            """, RowsOf(consents), ct);
    }

    private static string RowsOf(IEnumerable<ConsentRecorded> consents) =>
        JsonSerializer.Serialize(consents.GroupBy(c => (c.CustomerId, c.Channel, c.Purpose)).Select(g => g.MaxBy(c => c.Version)!).Select(c => new
        {
            customer_id = Ids.Customer.Parse(c.CustomerId),
            c.Channel,
            c.Purpose,
            c.State,
            c.Version,
            c.At,
            paused_until = c.PausedUntil,
        }), EventJson);

    internal async Task StoreAsync(IReadOnlyCollection<TierChanged> tiers, CancellationToken ct)
    {
        const string Columns = "name, version, rank, priority_queue, price_list, sla_policy, response_minutes";
        await ExecuteAsync($"""
            INSERT INTO tiers ({Columns}) SELECT {Columns} FROM jsonb_populate_recordset(NULL::tiers, @rows) ORDER BY name
            ON CONFLICT (name) DO UPDATE SET
                version = excluded.version, rank = excluded.rank, priority_queue = excluded.priority_queue, price_list = excluded.price_list,
                sla_policy = excluded.sla_policy, response_minutes = excluded.response_minutes
            WHERE tiers.version < excluded.version
            """, RowsOf(tiers), ct);
    }

    private static string RowsOf(IEnumerable<TierChanged> tiers) => JsonSerializer.Serialize(tiers.Select(t => new
    {
        name = t.Tier,
        t.Version,
        t.Rank,
        priority_queue = t.Entitlements.PriorityQueue,
        price_list = t.Entitlements.PriceList,
        sla_policy = t.Entitlements.SlaPolicy,
        response_minutes = t.Entitlements.ResponseMinutes,
    }), EventJson);

    internal Task StoreAsync(IReadOnlyCollection<GrantChanged> grants, CancellationToken ct)
    {
        const string Columns = "id, version, owner, department, customer_id, field_group, access, expires_at, ended";
        return ExecuteAsync($"""
            INSERT INTO department_grants ({Columns}) SELECT {Columns} FROM jsonb_populate_recordset(NULL::department_grants, @rows) ORDER BY id
            ON CONFLICT (id) DO UPDATE SET
                version = excluded.version, owner = excluded.owner, department = excluded.department, customer_id = excluded.customer_id,
                field_group = excluded.field_group, access = excluded.access, expires_at = excluded.expires_at, ended = excluded.ended
            WHERE department_grants.version < excluded.version
            """, RowsOf(grants), ct);
    }

    private static string RowsOf(IEnumerable<GrantChanged> grants) => JsonSerializer.Serialize(grants.GroupBy(g => g.Id, StringComparer.Ordinal).Select(g => g.MaxBy(n => n.Version)!).Select(g => new
    {
        id = Ids.Grant.Parse(g.Id),
        g.Version,
        g.Owner,
        g.Department,
        customer_id = g.CustomerId is { } customer ? Ids.Customer.Parse(customer) : (Guid?)null,
        field_group = g.FieldGroup,
        g.Access,
        expires_at = g.ExpiresAt,
        g.Ended,
    }), EventJson);

    /// <summary>Rows of this service that others have copies of.</summary>
    public virtual IReadOnlyList<ReplayedRows> Replayed => [];

    /// <summary>Rows of a table as the statistics have it, which costs nothing.</summary>
    public Task<long> EstimateRowsAsync(string table, CancellationToken ct) => Database.SqlQuery<long>(
        $"SELECT coalesce((SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = to_regclass({table})), 0) AS \"Value\"").SingleAsync(ct);

    /// <summary>
    /// The rows as their owner has them, also where the very version says something else here; what is newer here stays. In
    /// the transaction at hand. How many were not as they should be.
    /// </summary>
    internal async Task<int> RepairAsync(IReadOnlyCollection<CustomerSnapshot> snapshots, CancellationToken ct)
    {
        // Before any row is locked: whoever makes a merge holds this first, and locks the rows afterwards.
        await Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock(hashtextextended('customer merges', 0))", ct);
        var wrong = await ForgetWrongAsync("customers", "id", CustomerColumns, RowsOf(NewestOf(snapshots)), ct);
        await StoreAsync(snapshots, ct);
        return wrong;
    }

    /// <inheritdoc cref="RepairAsync(IReadOnlyCollection{CustomerSnapshot}, CancellationToken)"/>
    internal async Task<int> RepairAsync(IReadOnlyCollection<ConsentRecorded> consents, CancellationToken ct)
    {
        var wrong = await ForgetWrongAsync("customer_consents", "customer_id, channel, purpose", "state, at, paused_until", RowsOf(consents), ct);
        await StoreAsync(consents, ct);
        return wrong;
    }

    /// <inheritdoc cref="RepairAsync(IReadOnlyCollection{CustomerSnapshot}, CancellationToken)"/>
    internal async Task<int> RepairAsync(IReadOnlyCollection<TierChanged> tiers, CancellationToken ct)
    {
        var wrong = await ForgetWrongAsync("tiers", "name", "rank, priority_queue, price_list, sla_policy, response_minutes", RowsOf(tiers), ct);
        await StoreAsync(tiers, ct);
        return wrong;
    }

    /// <inheritdoc cref="RepairAsync(IReadOnlyCollection{CustomerSnapshot}, CancellationToken)"/>
    internal async Task<int> RepairAsync(IReadOnlyCollection<GrantChanged> grants, CancellationToken ct)
    {
        var wrong = await ForgetWrongAsync("department_grants", "id", "owner, department, customer_id, field_group, access, expires_at, ended", RowsOf(grants), ct);
        await StoreAsync(grants, ct);
        return wrong;
    }

    /// <summary>Consents and grants of the erased; how many there were.</summary>
    internal async Task<int> RemoveOfErasedAsync(Guid[] erased, CancellationToken ct) => erased.Length == 0 ? 0
        : await Database.ExecuteSqlAsync($"DELETE FROM customer_consents WHERE customer_id = ANY ({erased})", ct)
        + await Database.ExecuteSqlAsync($"DELETE FROM department_grants WHERE customer_id = ANY ({erased})", ct);

    internal Task<List<string>> ReadTierNamesAsync(CancellationToken ct) => Tiers.AsNoTracking().Select(t => t.Name).ToListAsync(ct);

    internal Task<int> RemoveTiersAsync(string[] names, CancellationToken ct) => Database.ExecuteSqlAsync($"DELETE FROM tiers WHERE name = ANY ({names})", ct);

    /// <summary>Those that hold.</summary>
    internal Task<List<Guid>> ReadGrantIdsAsync(CancellationToken ct)
    {
        var now = Now;
        return Grants.AsNoTracking().Where(g => !g.Ended && (g.ExpiresAt == null || g.ExpiresAt > now)).Select(g => g.Id).ToListAsync(ct);
    }

    /// <summary>Of a grant that was revoked only that it ended counts; how many had not.</summary>
    internal Task<int> EndGrantsAsync(Guid[] ids, CancellationToken ct) =>
        Database.ExecuteSqlAsync($"UPDATE department_grants SET ended = true WHERE id = ANY ({ids}) AND NOT ended", ct);

    /// <summary>
    /// Rows that are of the very version and say something else become of the version before, so that they are written like
    /// any that is older. How many are to be written.
    /// </summary>
    private async Task<int> ForgetWrongAsync(string table, string key, string columns, string rows, CancellationToken ct)
    {
        string Of(string row, string names) => string.Join(", ", names.Split(", ").Select(n => $"{row}.{n}"));
        var sql = $"""
            WITH wrong AS (
                UPDATE {table} AS t SET version = t.version - 1
                FROM jsonb_populate_recordset(NULL::{table}, @rows) AS i
                WHERE ({Of("t", key)}) = ({Of("i", key)}) AND t.version = i.version AND ({Of("t", columns)}) IS DISTINCT FROM ({Of("i", columns)})
                RETURNING 1),
            older AS (
                SELECT FROM jsonb_populate_recordset(NULL::{table}, @rows) AS i LEFT JOIN {table} AS t USING ({key})
                WHERE t.version IS NULL OR t.version < i.version)
            SELECT ((SELECT count(*) FROM wrong) + (SELECT count(*) FROM older))::integer AS "Value"
            """;
        // Not composed: a statement that writes is the outermost.
        return (await Database.SqlQueryRaw<int>(sql, Json(rows)).ToListAsync(ct))[0];
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        base.OnModelCreating(modelBuilder);
        modelBuilder.Entity<Customer>(customer =>
        {
            customer.ToTable("customers");
            customer.HasQueryFilter(c => (AllRows || RowDepartments.Contains(c.Department!) || EF.Functions.JsonContains(c.Attributes, RowAttributes!))
                && (AllDepartments || c.Department == null || !UnseenDepartments.Contains(c.Department) || Set<Grant>().Any(g =>
                    g.CustomerId == c.Id && g.Owner == c.Department && CallerDepartments.Contains(g.Department) && !g.Ended && (g.ExpiresAt == null || g.ExpiresAt > Now))));
            customer.Property(c => c.Id).ValueGeneratedNever();
        });
        modelBuilder.Entity<Tier>(tier =>
        {
            tier.ToTable("tiers");
            tier.HasKey(t => t.Name);
        });
        modelBuilder.Entity<Grant>().ToTable("department_grants");
        modelBuilder.Entity<CustomerConsent>(consent =>
        {
            consent.ToTable("customer_consents");
            consent.HasKey(c => new { c.CustomerId, c.Channel, c.Purpose });
        });
    }

    public override async Task<IReadOnlyList<DepartmentGrant>> ReadGrantsAsync(IReadOnlyList<string> departments, CancellationToken ct)
    {
        var now = Now;
        return await Grants.AsNoTracking()
            .Where(g => g.CustomerId == null && departments.Contains(g.Department) && !g.Ended && (g.ExpiresAt == null || g.ExpiresAt > now))
            .Select(g => new DepartmentGrant(g.Owner, g.FieldGroup, g.Access == "write")).ToListAsync(ct);
    }

    /// <summary>Who does not see every customer sees of these rows those of the customers whom it sees.</summary>
    protected void KeepToRows<T>(EntityTypeBuilder<T> rows) where T : class =>
        rows.HasQueryFilter(r => (AllRows && AllDepartments) || Set<Customer>().Any(c => c.Id == EF.Property<Guid>(r, "CustomerId")));

    private static readonly JsonSerializerOptions EventJson = new(JsonSerializerDefaults.Web);

    protected static NpgsqlParameter Json(string rows) => new("rows", NpgsqlDbType.Jsonb) { Value = rows };

    private Task<int> ExecuteAsync(string sql, string rows, CancellationToken ct) => Database.ExecuteSqlRawAsync(sql, [Json(rows)], ct);
}

/// <summary>Why customers cannot become one.</summary>
/// <param name="Code">Of the problem that the merge answers.</param>
/// <param name="Source">The billing source.</param>
public sealed record MergeBlocker(string Code, string Source, IReadOnlyList<Guid> Customers);
