using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.Tiers;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// The next rows of one import, or of its undo, in one transaction with the checkpoint, the customers, their events and
/// the results. New customers are written by COPY, changed ones by the same way as any change.
/// </summary>
internal sealed class ImportBatch(ContactsDb db, Validation validation, TimeProvider clock)
{
    private const int MostRows = 1000;

    /// <summary>After so many failures of a batch of one row the row has failed.</summary>
    private const int MostAttempts = 5;

    private static readonly (string, string)[] IdentifierColumns = [("kind", "text"), ("value", "text"), ("customer_id", "uuid")];
    private static readonly (string, string)[] ExternalIdColumns = [("system", "text"), ("external_id", "text"), ("customer_id", "uuid")];

    private static readonly (string, string)[] ResultColumns =
    [
        ("import_id", "uuid"), ("row_no", "integer"), ("outcome", "text"), ("customer_id", "uuid"), ("version", "bigint"), ("before", "jsonb"), ("code", "text"), ("errors", "jsonb"),
    ];

    private IDbContextTransaction? _transaction;
    private CompiledMapping? _mapping;
    private FieldCatalog _fields = null!;
    private HashSet<string> _referrers = [];
    private HashSet<string> _tiers = [];

    public Import Import { get; private set; } = null!;

    /// <summary>False when no import has anything to do that is not done by another replica.</summary>
    public async Task<bool> BeginAsync(CancellationToken ct)
    {
        _transaction = await db.Database.BeginTransactionAsync(ct);
        var found = await db.Imports
            .FromSql($"SELECT * FROM imports WHERE status IN ('queued', 'running', 'undoing') ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED").ToListAsync(ct);
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
        var counts = Import.Status == ImportStatus.Undoing ? await UndoAsync(ct) : await ImportAsync(ct);
        await db.SaveChangesAsync(ct);
        await _transaction!.CommitAsync(ct);
        return counts;
    }

    private async Task<IReadOnlyDictionary<string, int>> ImportAsync(CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        Import.Start(now);
        var size = Import.Attempts switch { 0 => MostRows, 1 => 50, _ => 1 };
        var to = Math.Min(Import.Total, Import.NextRow + size - 1);
        List<Row> rows;
        if (size == 1 && Import.Attempts >= MostAttempts)
        {
            rows = [new(Import.NextRow) { Outcome = ImportOutcome.Failed, Code = "internal_error" }];
        }
        else
        {
            rows = await ReadAsync(to, ct);
            await MatchAsync(rows, ct);
            await FindReferrersAsync(rows, ct);
            _tiers = await db.Tiers.Select(t => t.Name).ToHashSetAsync(StringComparer.Ordinal, ct);
            await ApplyAsync(rows, now, ct);
            if (!Import.DryRun)
            {
                await WriteAsync(rows, ct);
            }
        }

        await db.CopyAsync("import_results", ResultColumns, rows.Select(r => (object?[])
        [
            Import.Id, r.Number, r.Outcome.ToWord(), Import.DryRun && r.Outcome == ImportOutcome.Created ? null : r.Customer?.Id, r.Version, r.Before, r.Code,
            r.Errors is null ? null : JsonSerializer.Serialize(r.Errors, JsonDefaults.Options),
        ]), ct);
        await db.Database.ExecuteSqlAsync($"DELETE FROM import_rows WHERE import_id = {Import.Id} AND row_no <= {to}", ct);
        rows.ForEach(r => Import.Count(r.Outcome));
        Import.Advance(to + 1, now);
        return rows.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
    }

    private async Task<List<Row>> ReadAsync(int to, CancellationToken ct)
    {
        _fields = await db.HoldFieldsAsync(ct);
        _mapping = new CompiledMapping(Import.Mapping, Import.Columns, _fields);
        var bodies = await db.Database.SqlQuery<string>(
            $"SELECT body AS \"Value\" FROM import_rows WHERE import_id = {Import.Id} AND row_no BETWEEN {Import.NextRow} AND {to} ORDER BY row_no").ToListAsync(ct);
        var rows = bodies.Select((body, i) =>
        {
            var row = new Row(Import.NextRow + i);
            row.Try(() =>
            {
                row.Fields = _mapping.Read(Import.Format, body);
                row.Keys = [.. KeysOf(row.Fields)];
            });
            return row;
        }).ToList();
        if (rows.Count != to - Import.NextRow + 1)
        {
            throw new InvalidOperationException($"Rows {Import.NextRow} to {to} of the import are not all there.");
        }

        return rows;
    }

    /// <summary>Finds the customers that the rows are about; three statements whatever the number of rows.</summary>
    private async Task MatchAsync(List<Row> rows, CancellationToken ct)
    {
        var keys = rows.SelectMany(r => r.Keys).ToHashSet();
        if (!Import.DryRun)
        {
            // A create of the same address waits, as at the front door; external ids are unique anyway.
            await db.LockAsync(keys.Where(k => k.Kind != MatchKey.ExternalId && MatchesOn(k.Kind)).Select(k => $"{k.Kind.ToWord()} {k.Value}"), ct);
        }

        var owners = new Dictionary<Key, HashSet<Guid>>();
        var externals = keys.Where(k => k.Kind == MatchKey.ExternalId).ToList();
        var (systems, values) = (externals.Select(k => k.System).ToArray(), externals.Select(k => k.Value).ToArray());
        foreach (var hit in await db.ExternalIds.FromSql($"""
            SELECT e.* FROM unnest({systems}, {values}) AS k (system, external_id) JOIN external_ids e USING (system, external_id)
            """).AsNoTracking().ToListAsync(ct))
        {
            Owners(new(MatchKey.ExternalId, hit.System, hit.Value)).Add(hit.CustomerId);
        }

        foreach (var kind in (MatchKey[])[MatchKey.Email, MatchKey.Phone])
        {
            var word = kind.ToWord();
            var wanted = keys.Where(k => k.Kind == kind && MatchesOn(kind)).Select(k => k.Value).ToArray();
            if (wanted.Length > 0)
            {
                foreach (var hit in await db.Identifiers.Where(i => i.Kind == word && wanted.Contains(i.Value))
                    .Join(db.Customers.Where(c => c.State == CustomerState.Active), i => i.CustomerId, c => c.Id, (i, _) => new { i.Value, i.CustomerId }).ToListAsync(ct))
                {
                    Owners(new(kind, "", hit.Value)).Add(hit.CustomerId);
                }
            }
        }

        var ids = owners.Values.SelectMany(o => o).Distinct().ToArray();
        var customers = await Customers(ids).ToDictionaryAsync(c => c.Id, ct);
        await ResolveMergedAsync(customers, ct);
        foreach (var row in rows.Where(r => r.Code is null))
        {
            row.Known = row.Keys.Where(owners.ContainsKey).ToDictionary(k => k, k => owners[k].Select(id => customers[id]).Distinct().ToList());
        }

        HashSet<Guid> Owners(Key key) => owners.TryGetValue(key, out var set) ? set : owners[key] = [];
    }

    /// <summary>What a dry run changes in memory is never saved.</summary>
    private IQueryable<Customer> Customers(Guid[] ids)
    {
        var customers = db.Whole().Where(c => ids.Contains(c.Id));
        return Import.DryRun ? customers.AsNoTrackingWithIdentityResolution() : customers;
    }

    /// <summary>Customers whom the rows name as referrers.</summary>
    private async Task FindReferrersAsync(List<Row> rows, CancellationToken ct)
    {
        var named = rows.Select(r => Contracts.Ids.Customer.TryParse(ReferrerOf(r), out var id) ? id : Guid.Empty).Where(id => id != Guid.Empty).Distinct().ToArray();
        if (named.Length > 0)
        {
            _referrers = (await db.Customers.Where(c => named.Contains(c.Id)).Select(c => c.Id).ToListAsync(ct)).Select(Contracts.Ids.Customer.Format).ToHashSet(StringComparer.Ordinal);
        }
    }

    private static string? ReferrerOf(Row row) =>
        (row.Fields?["source"] as JsonObject)?["referrer_id"] is JsonValue value && value.TryGetValue(out string? referrer) ? referrer : null;

    /// <summary>An absorbed customer's row is about the survivor.</summary>
    private async Task ResolveMergedAsync(Dictionary<Guid, Customer> customers, CancellationToken ct)
    {
        while (customers.Where(c => c.Value.SurvivorId is not null).ToList() is { Count: > 0 } merged)
        {
            var wanted = merged.Select(m => m.Value.SurvivorId!.Value).ToArray();
            var survivors = await Customers(wanted).ToDictionaryAsync(c => c.Id, ct);
            merged.ForEach(m => customers[m.Key] = survivors[m.Value.SurvivorId!.Value]);
        }
    }

    /// <summary>Row by row in the order of the file, in memory: a later row sees what an earlier one made.</summary>
    private async Task ApplyAsync(List<Row> rows, DateTimeOffset now, CancellationToken ct)
    {
        var made = new Dictionary<Key, Customer>();
        foreach (var row in rows.Where(r => r.Code is null))
        {
            await row.TryAsync(async () =>
            {
                var existing = Find(row, made);
                if (existing is null)
                {
                    _mapping!.AddDefaults(row.Fields!);
                }

                var before = existing?.ToInput();
                var input = MergePatch.Apply(before ?? new CustomerInput(), existing is null ? row.Fields! : Added(row.Fields!, before!));
                await validation.EnsureValidAsync(input, ct);
                input = _fields.Check(before, input);
                RequireFree(row, existing, made);
                if (ReferrerOf(row) is { } referrer && !_referrers.Contains(referrer))
                {
                    throw new ProblemException(Contracts.ProblemCodes.UnknownCustomer, "The referrer does not exist.", new FieldError("/source/referrer_id", "unknown_customer"));
                }

                if (input.Tier is { } tier && !_tiers.Contains(tier))
                {
                    throw ReadTiers.Unknown();
                }

                if (existing is null)
                {
                    row.Customer = Customer.Register(input, Import.Actor, now);
                    row.Outcome = ImportOutcome.Created;
                    row.Audit = Import.DryRun ? null : AuditChanges.Between(null, row.Customer.ToInput());
                }
                else
                {
                    row.Customer = existing;
                    var changed = existing.Change(input, Import.Actor, now);
                    row.Outcome = changed.Count > 0 ? ImportOutcome.Updated : ImportOutcome.Unchanged;
                    row.Changed = changed;
                    row.Audit = changed.Count > 0 && !Import.DryRun ? AuditChanges.Between(before, existing.ToInput()) : null;
                    row.Before = changed.Count > 0 ? JsonSerializer.Serialize(before, JsonDefaults.Options) : null;
                }

                row.Version = row.Customer.Version;
                foreach (var key in row.Keys)
                {
                    made.TryAdd(key, row.Customer);
                }
            });
        }
    }

    /// <summary>By the strongest key that finds anybody.</summary>
    private Customer? Find(Row row, Dictionary<Key, Customer> made)
    {
        foreach (var kind in Import.MatchOn.Select(EnumWords<MatchKey>.Parse))
        {
            var found = row.Keys.Where(k => k.Kind == kind)
                .SelectMany(k => (row.Known.GetValueOrDefault(k) ?? []).Concat(made.TryGetValue(k, out var earlier) ? [earlier] : []))
                .Where(c => c.State == CustomerState.Active).Distinct().Take(2).ToList();
            switch (found)
            {
                case [var only]:
                    return only;
                case [_, _]:
                    throw new ProblemException(Contracts.ProblemCodes.Conflict, "Several customers match.", new FieldError(Pointer(kind), "ambiguous", "Several customers have it."));
            }
        }

        return null;
    }

    /// <summary>An external id belongs to one customer only.</summary>
    private static void RequireFree(Row row, Customer? existing, Dictionary<Key, Customer> made)
    {
        foreach (var key in row.Keys.Where(k => k.Kind == MatchKey.ExternalId))
        {
            var owner = row.Known.GetValueOrDefault(key)?.FirstOrDefault() ?? made.GetValueOrDefault(key);
            if (owner is not null && owner != existing)
            {
                throw CustomerWrites.AlreadyExists(owner, "/external_ids");
            }
        }
    }

    /// <summary>An import adds contact points, external ids and attributes to a customer, and takes none away; the source stays what it was.</summary>
    private static JsonObject Added(JsonObject fields, CustomerInput before)
    {
        var patch = fields.DeepClone().AsObject();
        if (before.Source is not null)
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

            var all = JsonSerializer.SerializeToNode(before, JsonDefaults.Options)![list]?.DeepClone().AsArray() ?? [];
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

        return patch;

        static string Text(JsonNode node, string member) => node[member] is JsonValue value ? value.ToString() : "";
    }

    private async Task WriteAsync(List<Row> rows, CancellationToken ct)
    {
        var created = rows.Where(r => r.Outcome == ImportOutcome.Created).Select(r => r.Customer!).ToList();
        var registered = created.Select(c => c.Id).ToHashSet();
        var events = created.Select(c => ((IAggregate)c, (object)new CustomerRegistered(c.Snapshot()))).ToList();
        // Composed first: each event moves the customer's counter, which its row must have.
        foreach (var customer in rows.Where(r => r.Outcome == ImportOutcome.Updated).GroupBy(r => r.Customer!))
        {
            if (!registered.Contains(customer.Key.Id))
            {
                db.Publish(customer.Key, new CustomerUpdated(customer.Key.Snapshot(), [.. customer.SelectMany(r => r.Changed).Distinct()]));
            }
        }

        await db.AuditAsync(Import.Actor, rows.Where(r => r.Audit is not null).Select(r =>
            (r.Outcome == ImportOutcome.Created ? "created" : "updated", Customer.RecordType, r.Customer!.Id, (Guid?)r.Customer.Id, r.Audit!)), ct);
        if (created.Count > 0)
        {
            await db.PublishAsync(events, ct);
            await db.CopyAsync(created, ct);
            await db.CopyAsync([.. created.SelectMany(c => c.LifecycleChanges)], ct);
            await db.CopyAsync("customer_identifiers", IdentifierColumns, created.SelectMany(c => c.Identifiers.Select(i => (object?[])[i.Kind, i.Value, c.Id])), ct);
            await db.CopyAsync("external_ids", ExternalIdColumns, created.SelectMany(c => c.ExternalIds.Select(e => (object?[])[e.System, e.Value, c.Id])), ct);
        }
    }

    /// <summary>The customers of the next rows that are not undone yet, each with all its rows of this import.</summary>
    private async Task<IReadOnlyDictionary<string, int>> UndoAsync(CancellationToken ct)
    {
        var now = clock.GetUtcNow();
        var size = Import.Attempts switch { 0 => MostRows, 1 => 50, _ => 1 };
        var touched = await db.Database.SqlQuery<Touched>($"""
            WITH next AS (
                SELECT DISTINCT customer_id FROM (
                    SELECT customer_id FROM import_results
                    WHERE import_id = {Import.Id} AND undo IS NULL AND outcome IN ('created', 'updated') ORDER BY row_no LIMIT {size}) AS first)
            SELECT r.customer_id AS "CustomerId", bool_or(r.outcome = 'created') AS "Created", max(r.version) AS "Version",
                   (array_agg(r.before::text ORDER BY r.row_no) FILTER (WHERE r.before IS NOT NULL))[1] AS "Before",
                   EXISTS (SELECT 1 FROM consents c WHERE c.customer_id = r.customer_id) AS "HasConsents"
            FROM import_results r JOIN next USING (customer_id)
            WHERE r.import_id = {Import.Id} AND r.outcome IN ('created', 'updated')
            GROUP BY r.customer_id
            """).ToListAsync(ct);
        if (touched.Count == 0)
        {
            Import.Undone(now);
            return new Dictionary<string, int>();
        }

        var ids = touched.Select(t => t.CustomerId).ToArray();
        var customers = await db.Whole().Where(c => ids.Contains(c.Id)).ToDictionaryAsync(c => c.Id, ct);
        var results = new List<(Guid Id, UndoOutcome Outcome, string? Reason)>(touched.Count);
        var audit = new List<(string, string, Guid, Guid?, JsonObject)>(touched.Count);
        foreach (var one in touched)
        {
            var customer = customers[one.CustomerId];
            var reason = size == 1 && Import.Attempts >= MostAttempts ? "internal_error"
                : customer.State == CustomerState.Merged ? "merged"
                : customer.State == CustomerState.Erased ? "erased"
                : customer.State == CustomerState.Deleted ? "deleted"
                : customer.State != CustomerState.Active || customer.Version != one.Version ? "edited"
                : one.Created && one.HasConsents ? "has_consents"
                : null;
            var outcome = reason is not null ? UndoOutcome.Refused : one.Created ? UndoOutcome.Removed : UndoOutcome.Restored;
            var was = customer.ToInput();
            if (outcome == UndoOutcome.Removed)
            {
                customer.Remove(now);
                db.Publish(customer, new CustomerUpdated(customer.Snapshot(), ["state"]));
                audit.Add(("removed", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(was, customer.ToInput())));
            }
            else if (outcome == UndoOutcome.Restored
                && customer.Change(JsonSerializer.Deserialize<CustomerInput>(one.Before!, JsonDefaults.Options)!, Import.UndoAskedBy!, now) is { Count: > 0 } changed)
            {
                db.Publish(customer, new CustomerUpdated(customer.Snapshot(), changed));
                audit.Add(("restored", Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(was, customer.ToInput())));
            }

            Import.Count(outcome);
            results.Add((one.CustomerId, outcome, reason));
        }

        await db.AuditAsync(Import.UndoAskedBy!, audit, ct);
        var (keys, words, reasons) = (results.Select(r => r.Id).ToArray(), results.Select(r => r.Outcome.ToWord()).ToArray(), results.Select(r => r.Reason).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            UPDATE import_results r SET undo = u.outcome, undo_reason = u.reason
            FROM unnest({keys}, {words}, {reasons}) AS u (customer_id, outcome, reason)
            WHERE r.import_id = {Import.Id} AND r.customer_id = u.customer_id AND r.outcome IN ('created', 'updated')
            """, ct);
        Import.Undid();
        return results.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
    }

    private bool MatchesOn(MatchKey kind) => Import.MatchOn.Contains(kind.ToWord());

    private static string Pointer(MatchKey kind) => kind switch { MatchKey.Email => "/emails", MatchKey.Phone => "/phones", _ => "/external_ids" };

    /// <summary>What a row can be found by, in canonical form; what has not the form of one is left to validation.</summary>
    private static IEnumerable<Key> KeysOf(JsonObject fields)
    {
        foreach (var entry in Entries("external_ids"))
        {
            if (Text(entry, "system") is { } system && Text(entry, "id") is { } id)
            {
                yield return new(MatchKey.ExternalId, system, id);
            }
        }

        foreach (var entry in Entries("emails"))
        {
            if (Text(entry, "address") is { } address)
            {
                yield return new(MatchKey.Email, "", Email.Normalize(address).ToLowerInvariant());
            }
        }

        foreach (var entry in Entries("phones"))
        {
            if (Text(entry, "number") is { } number)
            {
                yield return new(MatchKey.Phone, "", Phone.Normalize(number));
            }
        }

        IEnumerable<JsonObject> Entries(string list) => (fields[list] as JsonArray ?? []).OfType<JsonObject>();

        static string? Text(JsonObject entry, string member) =>
            entry[member] is JsonValue value && value.TryGetValue(out string? text) && !text.Contains('\0', StringComparison.Ordinal) ? text : null;
    }

    private readonly record struct Key(MatchKey Kind, string System, string Value);

    private sealed class Row(int number)
    {
        public int Number { get; } = number;
        public JsonObject? Fields { get; set; }
        public IReadOnlyList<Key> Keys { get; set; } = [];
        public Dictionary<Key, List<Customer>> Known { get; set; } = [];
        public ImportOutcome Outcome { get; set; } = ImportOutcome.Failed;
        public Customer? Customer { get; set; }
        public IReadOnlyList<string> Changed { get; set; } = [];
        public JsonObject? Audit { get; set; }
        public long? Version { get; set; }
        public string? Before { get; set; }
        public string? Code { get; set; }
        public IReadOnlyList<FieldError>? Errors { get; private set; }

        public void Try(Action step)
        {
            try
            {
                step();
            }
            catch (ProblemException problem)
            {
                Fail(problem);
            }
            catch (Exception exception) when (exception is JsonException or InvalidOperationException)
            {
                // Such as half a surrogate pair: text that is no text.
                Fail(ProblemException.Invalid(new FieldError("", "bad_text", "The row has text that cannot be stored.")));
            }
        }

        public async Task TryAsync(Func<Task> step)
        {
            try
            {
                await step();
            }
            catch (ProblemException problem)
            {
                Fail(problem);
            }
        }

        private void Fail(ProblemException problem)
        {
            Code = problem.Code.Code;
            Errors = problem.Errors.Count > 0 ? problem.Errors : [new FieldError("", problem.Code.Code, problem.Message)];
        }
    }

    private sealed class Touched
    {
        public Guid CustomerId { get; init; }
        public bool Created { get; init; }
        public long Version { get; init; }
        public string? Before { get; init; }
        public bool HasConsents { get; init; }
    }
}
