using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Imports;
using Crm.Contacts.Features.CustomFields;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Contacts.Features.Imports;

/// <summary>
/// The customers of the next rows that are not undone yet, each with all its rows of this import. One that it created is
/// removed only when neither Contacts nor another service has anything about it. A row that another service takes between
/// its answer and the news of the removal stays there, with a warning in its log; an erasure of the customer takes it.
/// </summary>
internal sealed class ImportUndo(ContactsDb db, Import import, RowOwners others, TimeProvider clock)
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    /// <summary>After so many customers, those who gave values to each other are not looked for.</summary>
    private const int MostTogether = 2000;

    /// <returns>How many customers ended how; none when all are done, or when a service must be waited for.</returns>
    public async Task<IReadOnlyDictionary<string, int>> RunAsync(int size, CancellationToken ct)
    {
        var touched = await FindNextAsync(size, ct);
        if (touched.Count == 0)
        {
            import.Undone(clock.GetUtcNow());
            return new Dictionary<string, int>();
        }

        // Before the locks: nobody waits for a change of these customers while other services are asked.
        Guid[] created = [.. touched.Where(t => t.Created).Select(t => t.CustomerId)];
        var (used, missing) = await others.FindAsync(import.Attempts > ImportBatch.MostAttempts ? [] : created, ct);
        var now = clock.GetUtcNow();
        if (missing.Count > 0)
        {
            import.Await(missing, now + Pause);
            return new Dictionary<string, int>();
        }

        Guid[] ids = [.. touched.Select(t => t.CustomerId)];
        await db.LockCustomersAsync(ids, ct);
        var set = new CustomerSet(db, hold: true);
        var customers = await set.ReadAsync(ids, ct);
        var got = await FindGotAsync(created, ct);
        var reasons = new Dictionary<Guid, string>();
        foreach (var one in touched)
        {
            var customer = customers[one.CustomerId];
            var reason = import.Attempts > ImportBatch.MostAttempts ? "internal_error"
                : customer.State == CustomerState.Merged ? "merged"
                : customer.State == CustomerState.Erased ? "erased"
                : customer.State == CustomerState.Deleted ? "deleted"
                : one is { Created: false, Before: null } ? "erased"
                : customer.State != CustomerState.Active || customer.Version != one.Version ? "edited"
                : got.TryGetValue(one.CustomerId, out var since) || used.TryGetValue(one.CustomerId, out since) ? since
                : null;
            if (reason is not null)
            {
                reasons.Add(one.CustomerId, reason);
            }
        }

        var fields = await db.HoldFieldsAsync(ct);
        await RefuseTakenAsync(touched, fields, reasons, ct);
        var results = new List<(Guid Id, UndoOutcome Outcome, string? Reason)>(touched.Count);
        var changed = new List<Customer>(touched.Count);
        var audit = new List<(string, string, Guid, Guid?, JsonObject)>(touched.Count);
        foreach (var one in touched)
        {
            var customer = customers[one.CustomerId];
            var reason = reasons.GetValueOrDefault(one.CustomerId);
            var outcome = reason is not null ? UndoOutcome.Refused : one.Created ? UndoOutcome.Removed : UndoOutcome.Restored;
            var was = customer.ToInput();
            if (outcome == UndoOutcome.Removed)
            {
                customer.Remove(now);
                Changed("removed", []);
            }
            else if (outcome == UndoOutcome.Restored
                && customer.Change(one.Was()!, import.UndoAskedBy!, now).Count > 0)
            {
                Changed("restored", AuditChanges.Between(was, customer.ToInput()));
            }

            import.Count(outcome);
            results.Add((one.CustomerId, outcome, reason));

            void Changed(string action, JsonObject values)
            {
                changed.Add(customer);
                audit.Add((action, Customer.RecordType, customer.Id, customer.Id, values));
            }
        }

        if (changed.Count > 0)
        {
            await set.StoreAsync([], changed, fields.Unique, ct);
            await db.PublishAsync(import, [], changed, ct);
        }

        var (keys, words, why) = (results.Select(r => r.Id).ToArray(), results.Select(r => r.Outcome.ToWord()).ToArray(), results.Select(r => r.Reason).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            UPDATE import_results r SET undo = u.outcome, undo_reason = u.reason, before = CASE WHEN u.outcome <> 'removed' THEN r.before END
            FROM unnest({keys}, {words}, {why}) AS u (customer_id, outcome, reason)
            WHERE r.import_id = {import.Id} AND r.customer_id = u.customer_id AND r.outcome IN ('created', 'updated')
            """, ct);
        await FollowAsync([.. touched.Where(t => !t.Created && !reasons.ContainsKey(t.CustomerId)).Select(t => (t.CustomerId, t.FromVersion, customers[t.CustomerId].Version))], ct);
        await ForgetAsync([.. results.Where(r => r.Outcome == UndoOutcome.Removed).Select(r => r.Id)], ct);
        await db.AuditAsync(import.UndoAskedBy!, audit, ct);
        import.Undid();
        return results.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
    }

    /// <summary>
    /// The customers of the last rows, so that who got a value of a unique field from another one gives it back first; and who has
    /// such a value by now of these, where all gave to each other.
    /// </summary>
    private async Task<List<Touched>> FindNextAsync(int size, CancellationToken ct)
    {
        Guid[] next = await db.Database.SqlQuery<Guid>($"""
            SELECT DISTINCT customer_id AS "Value" FROM (
                SELECT customer_id FROM import_results
                WHERE import_id = {import.Id} AND undo IS NULL AND outcome IN ('created', 'updated') ORDER BY row_no DESC LIMIT {size}) AS last
            """).ToArrayAsync(ct);
        var fields = await db.ReadFieldsAsync(ct);
        var all = new Dictionary<Guid, Touched>();
        while (next.Length > 0 && all.Count < MostTogether)
        {
            var found = await db.Database.SqlQuery<Touched>($"""
                SELECT customer_id AS "CustomerId", bool_or(outcome = 'created') AS "Created", max(version) AS "Version",
                       min(coalesce(from_version, version - 1)) AS "FromVersion",
                       (array_agg(before::text ORDER BY row_no) FILTER (WHERE before IS NOT NULL))[1] AS "Before"
                FROM import_results
                WHERE import_id = {import.Id} AND customer_id = ANY ({next}) AND undo IS NULL AND outcome IN ('created', 'updated')
                GROUP BY customer_id
                """).ToListAsync(ct);
            found.ForEach(t => all.Add(t.CustomerId, t));
            next = [.. (await FindOwnersAsync(found, fields, ct)).Values.Where(id => !all.ContainsKey(id)).Distinct()];
        }

        return [.. all.Values];
    }

    /// <summary>Results of earlier imports that made the customers what they are again have the version of now.</summary>
    private async Task FollowAsync((Guid Id, long From, long Now)[] restored, CancellationToken ct)
    {
        var (ids, from, now) = (restored.Select(r => r.Id).ToArray(), restored.Select(r => r.From).ToArray(), restored.Select(r => r.Now).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            UPDATE import_results r SET version = u.now_version, from_version = coalesce(r.from_version, r.version - 1)
            FROM unnest({ids}, {from}, {now}) AS u (customer_id, old_version, now_version)
            WHERE r.customer_id = u.customer_id AND r.version = u.old_version AND r.import_id <> {import.Id} AND r.undo IS NULL AND r.outcome IN ('created', 'updated')
            """, ct);
    }

    /// <summary>As an erasure does, which finds nobody who was removed: the digests stay, so that the chain of the audit log is whole.</summary>
    private async Task ForgetAsync(Guid[] removed, CancellationToken ct)
    {
        await db.Database.ExecuteSqlRawAsync(AuditTrail.ErasingBy, [new NpgsqlParameter<string>("actor", import.UndoAskedBy!)], ct);
        await db.Database.ExecuteSqlAsync($"""
            DELETE FROM audit_value WHERE entry_id IN (SELECT id FROM audit_entry WHERE customer_id = ANY ({removed}))
            """, ct);
    }

    /// <summary>By customer what it got since that changes no version of it; asked when nobody else writes of them any more.</summary>
    private async Task<Dictionary<Guid, string>> FindGotAsync(Guid[] created, CancellationToken ct) => (await db.Database.SqlQuery<Got>($"""
        SELECT n.id AS "CustomerId", CASE
            WHEN EXISTS (SELECT FROM legal_holds h WHERE h.customer_id = n.id AND h.lifted_at IS NULL) THEN 'legal_hold'
            WHEN EXISTS (SELECT FROM consents c WHERE c.customer_id = n.id) THEN 'has_consents'
            WHEN EXISTS (SELECT FROM placed_orders o WHERE o.customer_id = n.id) THEN 'has_orders'
            WHEN EXISTS (SELECT FROM relationships r WHERE r.from_id = n.id OR r.to_id = n.id) THEN 'has_relationships'
            WHEN EXISTS (SELECT FROM account_managers a WHERE a.customer_id = n.id) THEN 'has_account_manager'
            WHEN EXISTS (SELECT FROM grants g WHERE g.customer_id = n.id AND g.ended_at IS NULL) THEN 'has_grants' END AS "Reason"
        FROM unnest({created}) AS n (id)
        """).ToListAsync(ct)).Where(g => g.Reason is not null).ToDictionary(g => g.CustomerId, g => g.Reason!);

    /// <summary>Who had a value of a unique field before that somebody else has now, and keeps; who is refused keeps what others had.</summary>
    private async Task RefuseTakenAsync(List<Touched> touched, FieldCatalog fields, Dictionary<Guid, string> reasons, CancellationToken ct)
    {
        var owners = await FindOwnersAsync(touched, fields, ct);
        var byId = touched.ToDictionary(t => t.CustomerId);
        List<Touched> refused;
        do
        {
            refused = touched.FindAll(t => !reasons.ContainsKey(t.CustomerId) && KeysOf(t, fields).Any(k => owners.TryGetValue(k, out var owner) && owner != t.CustomerId && Keeps(owner, k)));
            refused.ForEach(t => reasons.Add(t.CustomerId, "value_taken"));
        }
        while (refused.Count > 0);

        bool Keeps(Guid owner, (string, string) key) => reasons.ContainsKey(owner) || !byId.TryGetValue(owner, out var other) || KeysOf(other, fields).Contains(key);
    }

    /// <summary>Who has now what the customers had before, by field and value.</summary>
    private async Task<Dictionary<(string Field, string Key), Guid>> FindOwnersAsync(List<Touched> touched, FieldCatalog fields, CancellationToken ct)
    {
        var owners = new Dictionary<(string Field, string Key), Guid>();
        foreach (var keys in touched.SelectMany(t => KeysOf(t, fields)).GroupBy(k => k.Field, k => k.Key, StringComparer.Ordinal))
        {
            foreach (var (key, owner) in await db.OwnersAsync(fields.Find(keys.Key)!, keys, ct))
            {
                owners[(keys.Key, key)] = owner;
            }
        }

        return owners;
    }

    /// <summary>Values of unique fields that the customer gets back.</summary>
    private static IEnumerable<(string Field, string Key)> KeysOf(Touched one, FieldCatalog fields)
    {
        foreach (var field in one.Created ? [] : fields.Unique)
        {
            if (one.Was()?.Attributes?.TryGetValue(field.Name, out var value) is true && field.KeyOf(value) is { } key)
            {
                yield return (field.Name, key);
            }
        }
    }

    private sealed class Touched
    {
        private CustomerInput? _was;

        public Guid CustomerId { get; init; }
        public bool Created { get; init; }
        public long Version { get; init; }

        /// <summary>Before the first of the rows.</summary>
        public long FromVersion { get; init; }

        public string? Before { get; init; }

        public CustomerInput? Was() => Before is null ? null : _was ??= JsonSerializer.Deserialize<CustomerInput>(Before, JsonDefaults.Options);
    }

    private sealed class Got
    {
        public Guid CustomerId { get; init; }
        public string? Reason { get; init; }
    }
}
