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

namespace Crm.Contacts.Features.Imports;

/// <summary>The customers of the next rows that are not undone yet, each with all its rows of this import.</summary>
internal sealed class ImportUndo(ContactsDb db, Import import)
{
    /// <returns>How many customers ended how; none when all are done.</returns>
    public async Task<IReadOnlyDictionary<string, int>> RunAsync(int size, DateTimeOffset now, CancellationToken ct)
    {
        var touched = await db.Database.SqlQuery<Touched>($"""
            WITH next AS (
                SELECT DISTINCT customer_id FROM (
                    SELECT customer_id FROM import_results
                    WHERE import_id = {import.Id} AND undo IS NULL AND outcome IN ('created', 'updated') ORDER BY row_no LIMIT {size}) AS first)
            SELECT r.customer_id AS "CustomerId", bool_or(r.outcome = 'created') AS "Created", max(r.version) AS "Version",
                   (array_agg(r.before::text ORDER BY r.row_no) FILTER (WHERE r.before IS NOT NULL))[1] AS "Before",
                   EXISTS (SELECT 1 FROM consents c WHERE c.customer_id = r.customer_id) AS "HasConsents"
            FROM import_results r JOIN next USING (customer_id)
            WHERE r.import_id = {import.Id} AND r.outcome IN ('created', 'updated')
            GROUP BY r.customer_id
            """).ToListAsync(ct);
        if (touched.Count == 0)
        {
            import.Undone(now);
            return new Dictionary<string, int>();
        }

        var set = new CustomerSet(db, hold: true);
        var customers = await set.ReadAsync(touched.Select(t => t.CustomerId), ct);
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
                : one.Created && one.HasConsents ? "has_consents"
                : taken.Contains(one.CustomerId) ? "value_taken"
                : null;
            var outcome = reason is not null ? UndoOutcome.Refused : one.Created ? UndoOutcome.Removed : UndoOutcome.Restored;
            var was = customer.ToInput();
            if (outcome == UndoOutcome.Removed)
            {
                customer.Remove(now);
                Changed("removed");
            }
            else if (outcome == UndoOutcome.Restored
                && customer.Change(JsonSerializer.Deserialize<CustomerInput>(one.Before!, JsonDefaults.Options)!, import.UndoAskedBy!, now).Count > 0)
            {
                Changed("restored");
            }

            import.Count(outcome);
            results.Add((one.CustomerId, outcome, reason));

            void Changed(string action)
            {
                changed.Add(customer);
                audit.Add((action, Customer.RecordType, customer.Id, customer.Id, AuditChanges.Between(was, customer.ToInput())));
            }
        }

        if (changed.Count > 0)
        {
            await set.StoreAsync([], changed, ct);
            await db.PublishAsync(import, [], changed, ct);
        }

        var (keys, words, reasons) = (results.Select(r => r.Id).ToArray(), results.Select(r => r.Outcome.ToWord()).ToArray(), results.Select(r => r.Reason).ToArray());
        await db.Database.ExecuteSqlAsync($"""
            UPDATE import_results r SET undo = u.outcome, undo_reason = u.reason
            FROM unnest({keys}, {words}, {reasons}) AS u (customer_id, outcome, reason)
            WHERE r.import_id = {import.Id} AND r.customer_id = u.customer_id AND r.outcome IN ('created', 'updated')
            """, ct);
        await db.AuditAsync(import.UndoAskedBy!, audit, ct);
        import.Undid();
        return results.GroupBy(r => r.Outcome).ToDictionary(g => g.Key.ToWord(), g => g.Count(), StringComparer.Ordinal);
    }

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
        public bool HasConsents { get; init; }
    }
}
