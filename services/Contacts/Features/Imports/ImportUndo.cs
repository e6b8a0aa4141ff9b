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

    /// <returns>How many customers ended how; none when all are done, or when a service must be waited for.</returns>
    public async Task<IReadOnlyDictionary<string, int>> RunAsync(int size, CancellationToken ct)
    {
        var touched = await db.Database.SqlQuery<Touched>($"""
            WITH next AS (
                SELECT DISTINCT customer_id FROM (
                    SELECT customer_id FROM import_results
                    WHERE import_id = {import.Id} AND undo IS NULL AND outcome IN ('created', 'updated') ORDER BY row_no LIMIT {size}) AS first)
            SELECT r.customer_id AS "CustomerId", bool_or(r.outcome = 'created') AS "Created", max(r.version) AS "Version",
                   (array_agg(r.before::text ORDER BY r.row_no) FILTER (WHERE r.before IS NOT NULL))[1] AS "Before"
            FROM import_results r JOIN next USING (customer_id)
            WHERE r.import_id = {import.Id} AND r.outcome IN ('created', 'updated')
            GROUP BY r.customer_id
            """).ToListAsync(ct);
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
        var taken = await FindTakenAsync(touched, customers, ct);
        var results = new List<(Guid Id, UndoOutcome Outcome, string? Reason)>(touched.Count);
        var changed = new List<Customer>(touched.Count);
        var audit = new List<(string, string, Guid, Guid?, JsonObject)>(touched.Count);
        foreach (var one in touched)
        {
            var customer = customers[one.CustomerId];
            var reason = import.Attempts > ImportBatch.MostAttempts ? "internal_error"
                : customer.State == CustomerState.Merged ? "merged"
                : customer.State == CustomerState.Erased ? "erased"
                : customer.State == CustomerState.Deleted ? "deleted"
                : customer.State != CustomerState.Active || customer.Version != one.Version ? "edited"
                : got.TryGetValue(one.CustomerId, out var since) || used.TryGetValue(one.CustomerId, out since) ? since
                : taken.Contains(one.CustomerId) ? "value_taken"
                : null;
            var outcome = reason is not null ? UndoOutcome.Refused : one.Created ? UndoOutcome.Removed : UndoOutcome.Restored;
            var was = customer.ToInput();
            if (outcome == UndoOutcome.Removed)
            {
                customer.Remove(now);
                Changed("removed", []);
            }
            else if (outcome == UndoOutcome.Restored
                && customer.Change(JsonSerializer.Deserialize<CustomerInput>(one.Before!, JsonDefaults.Options)!, import.UndoAskedBy!, now).Count > 0)
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
            await set.StoreAsync([], changed, ct);
            await db.PublishAsync(import, [], changed, ct);
        }

        var (keys, words, reasons) = (results.Select(r => r.Id).ToArray(), results.Select(r => r.Outcome.ToWord()).ToArray(), results.Select(r => r.Reason).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            UPDATE import_results r SET undo = u.outcome, undo_reason = u.reason, before = CASE WHEN u.outcome <> 'removed' THEN r.before END
            FROM unnest({keys}, {words}, {reasons}) AS u (customer_id, outcome, reason)
            WHERE r.import_id = {import.Id} AND r.customer_id = u.customer_id AND r.outcome IN ('created', 'updated')
            """, ct);
        await ForgetAsync([.. results.Where(r => r.Outcome == UndoOutcome.Removed).Select(r => r.Id)], ct);
        await db.AuditAsync(import.UndoAskedBy!, audit, ct);
        import.Undid();
        return results.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
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

    /// <summary>Customers who had a value of a unique field before that somebody else has now.</summary>
    private async Task<HashSet<Guid>> FindTakenAsync(List<Touched> touched, IReadOnlyDictionary<Guid, Customer> customers, CancellationToken ct)
    {
        var before = touched.Where(t => !t.Created && t.Before is not null)
            .Select(t => (Id: t.CustomerId, Attributes: JsonSerializer.Deserialize<CustomerInput>(t.Before!, JsonDefaults.Options)!.Attributes ?? [])).ToList();
        var taken = new HashSet<Guid>();
        foreach (var field in (await db.HoldFieldsAsync(ct)).Unique)
        {
            var values = before.Select(b => (b.Id, Key: b.Attributes.TryGetValue(field.Name, out var value) ? field.KeyOf(value) : null)).Where(v => v.Key is not null).ToList();
            var owners = await db.OwnersAsync(field, values.Select(v => v.Key!), ct);
            taken.UnionWith(values.Where(v => owners.TryGetValue(v.Key!, out var owner) && owner != v.Id && !customers.ContainsKey(owner)).Select(v => v.Id));
        }

        return taken;
    }

    private sealed class Touched
    {
        public Guid CustomerId { get; init; }
        public bool Created { get; init; }
        public long Version { get; init; }
        public string? Before { get; init; }
    }

    private sealed class Got
    {
        public Guid CustomerId { get; init; }
        public string? Reason { get; init; }
    }
}
