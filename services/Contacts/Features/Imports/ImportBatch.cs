using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Duplicates;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Tiers;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// The next rows of one import, or of its undo, in one transaction with the checkpoint, the customers, their events, the
/// audit log and the results. All is read and written set by set: the number of statements is that of the tables.
/// </summary>
internal sealed class ImportBatch(ContactsDb db, Validation validation, ImportAhead ahead, RowOwners others, TimeProvider clock)
{
    private const int MostRows = 2000;

    /// <summary>With an advisory lock for each address or customer, of which the server has room for some thousands.</summary>
    private const int MostLockedRows = 1000;

    /// <summary>After so many attempts at a batch, the last ones at one row, the row has failed.</summary>
    public const int MostAttempts = 5;

    private static readonly (string, string)[] ResultColumns =
    [
        ("import_id", "uuid"), ("row_no", "integer"), ("outcome", "text"), ("customer_id", "uuid"), ("version", "bigint"), ("before", "jsonb"), ("code", "text"), ("errors", "jsonb"),
    ];

    private IDbContextTransaction? _transaction;
    private CustomerSet _customers = null!;
    private ImportDrafts? _drafts;
    private FieldCatalog _fields = null!;

    /// <summary>Who absorbed the customers that had these values of unique fields.</summary>
    private Dictionary<ImportKey, Guid> _survivors = [];

    /// <summary>Whom the rows name as referrers, and for whom they stand.</summary>
    private Dictionary<string, Guid> _referrers = [];
    private HashSet<string> _tiers = [];

    public Import Import { get; private set; } = null!;

    /// <summary>False when no import has anything to do that is not done by another replica.</summary>
    /// <param name="last">The import of the batch that this process has just done: it counted the attempt at the next one.</param>
    public async Task<bool> BeginAsync(Guid? last, CancellationToken ct)
    {
        if (!await TakeAsync(ct))
        {
            return false;
        }

        if (Import.Id == last)
        {
            return true;
        }

        // In a commit of its own: whoever was at this batch before may have been killed by it, and so may this process.
        Import.Attempt();
        await db.SaveChangesAsync(ct);
        await _transaction!.CommitAsync(ct);
        db.ChangeTracker.Clear();
        return await TakeAsync(ct);
    }

    private async Task<bool> TakeAsync(CancellationToken ct)
    {
        _transaction = await db.Database.BeginTransactionAsync(ct);
        var now = clock.GetUtcNow();
        var found = await db.Imports
            .ForUpdate($"status IN ('queued', 'running', 'undoing') AND (next_at IS NULL OR next_at <= {now}) ORDER BY created_at LIMIT 1", skipLocked: true).ToListAsync(ct);
        if (found is not [var import])
        {
            await _transaction.DisposeAsync();
            return false;
        }

        Import = import;
        return true;
    }

    /// <summary>Does the batch and commits; how many rows ended how.</summary>
    public async Task<IReadOnlyDictionary<string, int>> RunAsync(CancellationToken ct)
    {
        var counts = Import.Status == ImportStatus.Undoing
            ? await new ImportUndo(db, Import, others, clock).RunAsync(SizeOf(MostLockedRows), ct)
            : await ImportAsync(ct);
        await db.SaveChangesAsync(ct);
        await _transaction!.CommitAsync(ct);
        return counts;
    }

    /// <summary>Smaller at each attempt, so that a row that cannot be written stops no other.</summary>
    private int SizeOf(int most) => Import.Attempts switch { <= 1 => most, 2 => 50, _ => 1 };

    private async Task<IReadOnlyDictionary<string, int>> ImportAsync(CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        Import.Start(now);
        var most = !Import.DryRun && (MatchesOn(MatchKey.Email) || MatchesOn(MatchKey.Phone)) ? MostLockedRows : MostRows;
        var size = SizeOf(most);
        _fields = await db.HoldFieldsAsync(ct);
        var reader = new ImportReader(Import, _fields, validation, clock);
        var rows = await ReadAsync(reader, Math.Min(Import.Total, Import.NextRow + size - 1), ct);
        var to = rows[^1].Number;
        if (Import.Attempts > MostAttempts)
        {
            rows = [new ImportRow(Import.NextRow, rows[0].Body)];
            rows[0].Fail("internal_error");
        }
        else
        {
            _customers = new CustomerSet(db, hold: !Import.DryRun);
            _drafts = Import.DryRun ? new ImportDrafts(db, Import) : null;
            await MatchAsync(rows, now, ct);
            await FindReferrersAsync(rows, ct);
            _tiers = await db.Tiers.Select(t => t.Name).ToHashSetAsync(StringComparer.Ordinal, ct);
            await ApplyAsync(rows, reader, now, ct);
            ahead.Begin(Import, _fields, reader, to + 1, Math.Min(Import.Total, to + most), drafts: 2 * rows.Count(r => r.Outcome == ImportOutcome.Created) >= rows.Count, ct);
            await (_drafts?.StoreAsync(rows, ct) ?? WriteAsync(rows, ct));
        }

        await db.CopyAsync("import_results", ResultColumns, rows.Select(r => (object?[])
        [
            Import.Id, r.Number, r.Outcome.ToWord(), _drafts?.IsDraft(r.Customer) is true ? null : r.Customer?.Id, r.Version, r.Before, r.Code,
            r.Errors is null ? null : JsonSerializer.Serialize(r.Errors, JsonDefaults.Options),
        ]), ct);
        await DeleteAsync(rows, ct);
        rows.ForEach(r => Import.Count(r.Outcome));
        Import.Advance(to + 1, now);
        if (_drafts is not null && Import.Status == ImportStatus.Completed)
        {
            await _drafts.DeleteAsync(ct);
        }

        return rows.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
    }

    private async Task<List<ImportRow>> ReadAsync(ImportReader reader, int to, CancellationToken ct)
    {
        var rows = await ahead.TakeAsync(Import, _fields);
        rows = rows is [var first, ..] && first.Number == Import.NextRow
            ? rows.FindAll(r => r.Number <= to)
            : (await db.Database.SqlQueryRaw<Stored>(ImportAhead.NextRows, [.. ImportAhead.Parameters(Import.Id, Import.NextRow, to)]).ToListAsync(ct)).ConvertAll(r => reader.Read(r.Number, r.Body));
        return rows.Count > 0 && rows.Index().All(r => r.Item.Number == Import.NextRow + r.Index)
            ? rows
            : throw new InvalidOperationException($"A row of the import is not there; it is at {Import.NextRow}.");
    }

    /// <summary>At the end: an erasure, which empties rows that name the erased, locks their customers first as well.</summary>
    private async Task DeleteAsync(List<ImportRow> rows, CancellationToken ct)
    {
        var deleted = (await db.Database.SqlQuery<Stored>($"""
            DELETE FROM import_rows WHERE import_id = {Import.Id} AND row_no <= {rows[^1].Number} RETURNING row_no AS "Number", body AS "Body"
            """).ToListAsync(ct)).ToDictionary(r => r.Number, r => r.Body);
        if (!rows.TrueForAll(r => deleted.GetValueOrDefault(r.Number) == r.Body))
        {
            throw new InvalidOperationException("A row of the import was emptied while it was worked on.");
        }
    }

    /// <summary>Finds the customers that the rows are about; a few statements whatever the number of rows.</summary>
    private async Task MatchAsync(List<ImportRow> rows, DateTimeOffset now, CancellationToken ct)
    {
        var keys = rows.SelectMany(r => r.Keys).ToHashSet();
        if (!Import.DryRun)
        {
            // A create of the same address waits, as at the front door; external ids are unique anyway.
            await db.LockAsync(keys.Where(k => k.Kind is MatchKey.Email or MatchKey.Phone && MatchesOn(k.Kind)).Select(k => $"{k.Kind.ToWord()} {k.Value}"), ct);
        }

        var owners = await FindOwnersAsync(keys, ct);
        var ids = owners.Values.SelectMany(o => o).ToHashSet();
        var customers = new Dictionary<Guid, Customer>(await _customers.ReadAsync(ids, ct));
        await ResolveMergedAsync(customers, ct);
        if (_drafts is not null)
        {
            await _drafts.ApplyAsync(customers, ids, now, ct);
        }

        // Found before their rows were locked: the undo of a merge, or a change, may have taken a key off one of them until then.
        while (_drafts is null && owners.Any(o => o.Value.Any(id => !StillHas(customers[id], o.Key) && !LeadsTo(customers[id], o.Key))))
        {
            owners = await FindOwnersAsync(keys, ct);
            var unread = owners.Values.SelectMany(o => o).Where(id => !customers.ContainsKey(id)).ToHashSet();
            if (unread.Count == 0)
            {
                break;
            }

            foreach (var (id, customer) in await _customers.ReadAsync(unread, ct))
            {
                customers[id] = customer;
            }

            await ResolveMergedAsync(customers, ct);
        }

        foreach (var row in rows.Where(r => r.Code is null))
        {
            row.Known = row.Keys.Where(owners.ContainsKey).ToDictionary(k => k, k => owners[k].Select(id => customers[id]).Distinct().ToList());
        }
    }

    /// <summary>Who has the keys: customers, and drafts of a dry run.</summary>
    private async Task<Dictionary<ImportKey, HashSet<Guid>>> FindOwnersAsync(HashSet<ImportKey> keys, CancellationToken ct)
    {
        List<(ImportKey Key, Guid Owner)> found =
        [
            .. await FindByExternalIdAsync(keys, ct),
            .. await FindByContactPointAsync(keys, MatchKey.Email, IdentifierKind.Email, ct),
            .. await FindByContactPointAsync(keys, MatchKey.Phone, IdentifierKind.Phone, ct),
            .. await FindByUniqueValueAsync(keys, ct),
        ];
        if (_drafts is not null)
        {
            found.AddRange(await _drafts.FindAsync(keys, ct));
        }

        return found.GroupBy(f => f.Key, f => f.Owner).ToDictionary(g => g.Key, g => g.ToHashSet());
    }

    private async Task<List<(ImportKey Key, Guid Owner)>> FindByExternalIdAsync(HashSet<ImportKey> keys, CancellationToken ct)
    {
        var externals = keys.Where(k => k.Kind == MatchKey.ExternalId).ToList();
        var (systems, values) = (externals.Select(k => k.System).ToArray(), externals.Select(k => k.Value).ToArray());
        var hits = await db.ExternalIds.SelectFrom($"unnest({systems}, {values}) AS k (system, external_id) JOIN external_ids e USING (system, external_id)").AsNoTracking().ToListAsync(ct);
        return hits.ConvertAll(h => (new ImportKey(MatchKey.ExternalId, h.System, h.Value), h.CustomerId));
    }

    /// <param name="blocked">The same kind in the list of values that many share, which find nobody.</param>
    private async Task<List<(ImportKey Key, Guid Owner)>> FindByContactPointAsync(HashSet<ImportKey> keys, MatchKey kind, IdentifierKind blocked, CancellationToken ct)
    {
        var word = kind.ToWord();
        var wanted = keys.Where(k => k.Kind == kind && MatchesOn(kind)).Select(k => k.Value).ToArray();
        if (wanted.Length == 0)
        {
            return [];
        }

        var hits = await db.Identifiers.Where(i => i.Kind == word && wanted.Contains(i.Value) && !db.BlockedIdentifiers.Any(b => b.Kind == blocked && b.Value == i.Value))
            .Join(db.Customers.Where(c => c.State == CustomerState.Active), i => i.CustomerId, c => c.Id, (i, _) => new { i.Value, i.CustomerId }).ToListAsync(ct);
        return hits.ConvertAll(h => (new ImportKey(kind, "", h.Value), h.CustomerId));
    }

    /// <summary>Those who have values of unique fields, and those who stand for absorbed ones who had them (<see cref="_survivors"/>).</summary>
    private async Task<List<(ImportKey Key, Guid Owner)>> FindByUniqueValueAsync(HashSet<ImportKey> keys, CancellationToken ct)
    {
        var found = new List<(ImportKey Key, Guid Owner)>();
        _survivors = [];
        foreach (var field in _fields.Unique)
        {
            var wanted = keys.Where(k => k.Kind == MatchKey.Attribute && k.System == field.Name).Select(k => k.Value).ToList();
            var have = await db.OwnersAsync(field, wanted, ct);
            foreach (var (value, owner) in have)
            {
                found.Add((new(MatchKey.Attribute, field.Name, value), owner));
            }

            foreach (var (value, survivor) in await db.SurvivorsAsync(field, wanted.Where(v => !have.ContainsKey(v)), ct))
            {
                var key = new ImportKey(MatchKey.Attribute, field.Name, value);
                _survivors[key] = survivor;
                found.Add((key, survivor));
            }
        }

        return found;
    }

    /// <summary>An absorbed customer's row is about the survivor.</summary>
    private async Task ResolveMergedAsync(Dictionary<Guid, Customer> customers, CancellationToken ct)
    {
        while (customers.Where(c => c.Value.SurvivorId is not null).ToList() is { Count: > 0 } merged)
        {
            var survivors = await _customers.ReadAsync(merged.Select(m => m.Value.SurvivorId!.Value), ct);
            merged.ForEach(m => customers[m.Key] = survivors[m.Value.SurvivorId!.Value]);
        }
    }

    /// <summary>Customers whom the rows name as referrers; nobody who was erased or removed, as at the front door.</summary>
    private async Task FindReferrersAsync(List<ImportRow> rows, CancellationToken ct)
    {
        var named = rows.Select(r => Contracts.Ids.Customer.TryParse(ReferrerOf(r), out var id) ? id : Guid.Empty).Where(id => id != Guid.Empty).Distinct().ToArray();
        if (named.Length > 0)
        {
            var there = await db.Database.SqlQuery<Referrer>($"""
                SELECT id AS "Id", customer_root(id) AS "Root" FROM customers WHERE id = ANY ({named}) AND state NOT IN ('erased', 'removed')
                """).ToListAsync(ct);
            _referrers = there.ToDictionary(r => Contracts.Ids.Customer.Format(r.Id), r => r.Root, StringComparer.Ordinal);
        }
    }

    private static string? ReferrerOf(ImportRow row) =>
        (row.Fields?["source"] as JsonObject)?["referrer_id"] is JsonValue value && value.TryGetValue(out string? referrer) ? referrer : null;

    /// <summary>Row by row in the order of the file, in memory: a later row sees what an earlier one made.</summary>
    private async Task ApplyAsync(List<ImportRow> rows, ImportReader reader, DateTimeOffset now, CancellationToken ct)
    {
        var made = new Dictionary<ImportKey, Customer>();
        foreach (var row in rows.Where(r => r.Code is null))
        {
            try
            {
                row.Customer = Find(row, made) is { } existing ? await ChangeAsync(row, reader, existing, made, now, ct) : await CreateAsync(row, reader, made, ct);
                row.Version = row.Customer.Version;
                foreach (var key in row.Keys.Where(k => !made.TryGetValue(k, out var first) || !StillHas(first, k)))
                {
                    made[key] = row.Customer;
                }
            }
            catch (ProblemException problem)
            {
                row.Fail(problem);
            }
        }
    }

    private async Task<Customer> CreateAsync(ImportRow row, ImportReader reader, Dictionary<ImportKey, Customer> made, CancellationToken ct)
    {
        await reader.DraftAsync(row, ct);
        var (customer, audit, problem) = row.Draft;
        if (problem is not null)
        {
            throw problem;
        }

        RequireFree(row, null, made);
        RequireReferrer(row, null, null);
        RequireTier(customer!.Tier);
        (row.Outcome, row.Audit) = (ImportOutcome.Created, audit);
        return customer;
    }

    private async Task<Customer> ChangeAsync(ImportRow row, ImportReader reader, Customer existing, Dictionary<ImportKey, Customer> made, DateTimeOffset now, CancellationToken ct)
    {
        var before = existing.ToInput();
        var referrerId = before.Source?.ReferrerId;
        var stored = JsonSerializer.SerializeToNode(before, JsonDefaults.Options)!.AsObject();
        var patch = Added(row.Fields!, stored);
        foreach (var key in row.Keys.Where(k => LeadsTo(existing, k) && !StillHas(existing, k)))
        {
            // The survivor keeps its own value.
            patch["attributes"]!.AsObject().Remove(key.System);
        }

        if (row.Flaws.Count == 0 && SaysNothingNew(patch, stored))
        {
            RequireFree(row, existing, made);
            RequireReferrer(row, existing, referrerId);
            row.Outcome = ImportOutcome.Unchanged;
            return existing;
        }

        var input = await reader.CheckAsync(row.Flaws, before, patch, ct);
        RequireFree(row, existing, made);
        RequireReferrer(row, existing, referrerId);
        RequireTier(input.Tier);
        var changed = existing.Change(input, Import.Actor, now);
        row.Outcome = changed.Count > 0 ? ImportOutcome.Updated : ImportOutcome.Unchanged;
        if (changed.Count > 0)
        {
            row.Audit = AuditChanges.Between(before, existing.ToInput());
            // For an undo, which a dry run has not; what it keeps of a customer who is not there no erasure would find.
            row.Before = Import.DryRun ? null : stored.ToJsonString(JsonDefaults.Options);
        }

        return existing;
    }

    /// <summary>Nearly all rows of a file that comes again.</summary>
    private static bool SaysNothingNew(JsonObject patch, JsonObject stored) => patch.All(m =>
        m.Value is JsonObject inner && stored[m.Key] is JsonObject there ? SaysNothingNew(inner, there) : JsonNode.DeepEquals(m.Value, stored[m.Key]));

    /// <param name="present">Whom the customer has already; he may be gone.</param>
    private void RequireReferrer(ImportRow row, Customer? existing, string? present)
    {
        if (ReferrerOf(row) is not { } referrer || referrer == present)
        {
            return;
        }

        if (!_referrers.TryGetValue(referrer, out var root))
        {
            throw CustomerWrites.UnknownReferrer();
        }

        if (root == existing?.Id)
        {
            throw CustomerWrites.RefersItself();
        }
    }

    private void RequireTier(string? tier)
    {
        if (tier is not null && !_tiers.Contains(tier))
        {
            throw ReadTiers.Unknown();
        }
    }

    /// <summary>
    /// By the strongest key that finds anybody. An e-mail address or phone number finds nobody who has another id in a system
    /// of the row's: two who share it stay two.
    /// </summary>
    private Customer? Find(ImportRow row, Dictionary<ImportKey, Customer> made)
    {
        foreach (var by in Import.MatchKeys)
        {
            var keys = row.Keys.Where(k => k.Kind == by.Kind && (by.Kind != MatchKey.Attribute || k.System == by.Field)).ToList();
            var found = Two(by, keys, StillHas);
            switch (found.Count > 0 ? found : Two(by, keys, LeadsTo))
            {
                case [var only]:
                    return only;
                case [_, _]:
                    throw new ProblemException(Contracts.ProblemCodes.Conflict, "Several customers match.", new FieldError(Pointer(by), "ambiguous", "Several customers have it."));
            }
        }

        return null;

        List<Customer> Two(MatchBy by, List<ImportKey> keys, Func<Customer, ImportKey, bool> has) => keys
            .SelectMany(k => (row.Known.GetValueOrDefault(k) ?? []).Concat(made.TryGetValue(k, out var earlier) ? [earlier] : []).Where(c => has(c, k)))
            .Where(c => c.State == CustomerState.Active && !(by.Kind is MatchKey.Email or MatchKey.Phone && HasOtherIds(c, row))).Distinct().Take(2).ToList();
    }

    private static bool HasOtherIds(Customer customer, ImportRow row) => row.Keys.Where(k => k.Kind == MatchKey.ExternalId).GroupBy(k => k.System, StringComparer.Ordinal)
        .Any(ids => customer.ExternalIds.Where(e => e.System == ids.Key).Select(e => e.Value).ToList() is { Count: > 0 } there && !ids.Any(k => there.Contains(k.Value)));

    /// <summary>Under the lock, and after the rows before, of which one may have given it another value.</summary>
    private bool StillHas(Customer customer, ImportKey key) => key.Kind switch
    {
        MatchKey.Email => customer.Identifiers.Exists(i => i.Kind == CustomerIdentifier.Email && i.Value == key.Value),
        MatchKey.Phone => customer.Identifiers.Exists(i => i.Kind == CustomerIdentifier.Phone && i.Value == key.Value),
        MatchKey.Attribute => customer.Attributes.TryGetValue(key.System, out var value) && _fields.Find(key.System)!.KeyOf(value) == key.Value,
        _ => customer.ExternalIds.Exists(e => e.System == key.System && e.Value == key.Value),
    };

    /// <summary>An absorbed customer had the value.</summary>
    private bool LeadsTo(Customer customer, ImportKey key) => _survivors.TryGetValue(key, out var survivor) && survivor == customer.Id;

    /// <summary>An external id, and the value of a unique field, belong to one customer only.</summary>
    private void RequireFree(ImportRow row, Customer? existing, Dictionary<ImportKey, Customer> made)
    {
        foreach (var key in row.Keys.Where(k => k.Kind == MatchKey.ExternalId))
        {
            var owner = row.Known.GetValueOrDefault(key)?.Find(c => StillHas(c, key)) ?? made.GetValueOrDefault(key);
            if (owner is not null && owner != existing)
            {
                throw CustomerWrites.AlreadyExists(owner, "/external_ids");
            }
        }

        foreach (var key in row.Keys.Where(k => k.Kind == MatchKey.Attribute))
        {
            var owner = (row.Known.GetValueOrDefault(key) ?? []).Concat(made.TryGetValue(key, out var earlier) ? [earlier] : []).FirstOrDefault(c => c != existing && StillHas(c, key));
            if (owner is not null)
            {
                throw UniqueValues.ValueTaken(_fields.Find(key.System)!, owner);
            }
        }
    }

    /// <summary>An import adds contact points, external ids, tags and attributes to a customer, and takes none away; the source stays what it was.</summary>
    private static JsonObject Added(JsonObject fields, JsonObject stored)
    {
        var patch = fields.DeepClone().AsObject();
        if (stored["source"] is not null)
        {
            patch.Remove("source");
        }

        CompiledMapping.CompleteSource(patch);

        foreach (var (list, same) in new (string, Func<JsonNode, string>)[]
        {
            ("emails", e => Email.Normalize(Text(e, "address")).ToLowerInvariant()),
            ("phones", p => Phone.Normalize(Text(p, "number"))),
            ("external_ids", e => $"{Text(e, "system")}\n{Text(e, "id")}"),
            ("addresses", a => string.Join('\n', [.. (a["lines"] as JsonArray ?? []).Select(l => l?.ToString() ?? ""), Text(a, "city"), Text(a, "postal_code"), Text(a, "country")]).ToLowerInvariant()),
        })
        {
            if (patch[list] is not JsonArray wanted)
            {
                continue;
            }

            var all = stored[list]?.DeepClone().AsArray() ?? [];
            var known = all.Select(e => same(e!)).ToHashSet(StringComparer.Ordinal);
            foreach (var entry in wanted.Where(e => e is not JsonObject || known.Add(same(e))))
            {
                var added = entry?.DeepClone();
                // Which one is primary is the customer's own; the import's first does not take it over.
                (added as JsonObject)?.Remove("primary");
                all.Add(added);
            }

            patch[list] = all;
        }

        if (patch[FieldJson.Tags] is JsonArray tags && tags.All(t => t is JsonValue tag && tag.TryGetValue(out string? _)))
        {
            // In the order of those that are stored, so that nothing new is seen to be nothing new.
            patch[FieldJson.Tags] = new JsonArray([.. tags.Concat(stored[FieldJson.Tags]?.AsArray() ?? []).Select(t => (string)t!).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)]);
        }

        return patch;

        static string Text(JsonNode node, string member) => node[member] is JsonValue value ? value.ToString() : "";
    }

    private async Task WriteAsync(List<ImportRow> rows, CancellationToken ct)
    {
        var created = rows.Where(r => r.Outcome == ImportOutcome.Created).Select(r => r.Customer!).ToHashSet();
        var changed = rows.Where(r => r.Outcome == ImportOutcome.Updated).Select(r => r.Customer!).Where(c => !created.Contains(c)).ToHashSet();
        if (created.Count + changed.Count > 0)
        {
            await _customers.StoreAsync(created, changed, _fields.Unique, ct);
            await db.PublishAsync(Import, created, changed, ct);
            await db.AuditAsync(Import.Actor, rows.Where(r => r.Audit is not null).Select(r =>
                (r.Outcome == ImportOutcome.Created ? "created" : "updated", Customer.RecordType, r.Customer!.Id, (Guid?)r.Customer.Id, r.Audit!)), ct);
        }
    }

    private bool MatchesOn(MatchKey kind) => Import.MatchOn.Contains(kind.ToWord());

    private static string Pointer(MatchBy by) => by.Kind switch
    {
        MatchKey.Email => "/emails",
        MatchKey.Phone => "/phones",
        MatchKey.Attribute => FieldCatalog.Pointer(by.Field),
        _ => "/external_ids",
    };

    private sealed class Stored
    {
        public int Number { get; init; }
        public string Body { get; init; } = "";
    }

    private sealed class Referrer
    {
        public Guid Id { get; init; }
        public Guid Root { get; init; }
    }
}
