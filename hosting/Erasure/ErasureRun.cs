using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace Crm.Hosting.Erasure;

public static class ErasureRun
{
    /// <summary>
    /// Carries out the service's steps, then takes what is left of the erased out of the audit log (its hash chain stays
    /// whole), the outbox, the dead letters and the stored answers. Inside a transaction that holds locks against writers
    /// of these customers.
    /// </summary>
    /// <param name="ids">The erased customers.</param>
    /// <param name="owners">For whom they stand in this database.</param>
    /// <param name="names">Their public ids, in the order of <paramref name="ids"/>.</param>
    /// <param name="mailboxes">Digests of their mailboxes, as <see cref="CustomersErased.Mailboxes"/> has them.</param>
    public static async Task<ErasedCounts> EraseAsync(this CrmDbContext db, Guid[] ids, Guid[] owners, string[] names, string[] mailboxes, CancellationToken ct)
    {
        var (erased, kept) = (new SortedDictionary<string, long>(StringComparer.Ordinal), new SortedDictionary<string, long>(StringComparer.Ordinal));
        var records = new List<(string? Type, Guid Id, string Name, bool Stays)>();
        await db.ExecuteAsync(AuditTrail.ErasingBy, ct, new NpgsqlParameter<string>("actor", db.Actor()));
        await db.ExecuteAsync("INSERT INTO erased_record (id) SELECT unnest(@names) ON CONFLICT DO NOTHING", ct, new NpgsqlParameter<string[]>("names", names));
        foreach (var step in db.ErasureSteps)
        {
            await using var command = db.Command(
                step.Sql, new NpgsqlParameter<Guid[]>("ids", ids), new NpgsqlParameter<Guid[]>("owners", owners), new NpgsqlParameter<string[]>("names", names),
                new NpgsqlParameter<string[]>("mailboxes", mailboxes));
            long rows = 0;
            if (step.Ids is { } kind)
            {
                await using var reader = await command.ExecuteReaderAsync(ct);
                while (await reader.ReadAsync(ct))
                {
                    rows++;
                    records.Add((step.RecordType, reader.GetGuid(0), kind.Format(reader.GetGuid(0)), step.Kept || step.IdsStay));
                }
            }
            else
            {
                rows = await command.ExecuteNonQueryAsync(ct);
            }

            if (step.Table is { } table)
            {
                Add(step.Kept ? kept : erased, table, rows);
            }
        }

        // What is filed under one of them is theirs, unless it is of a row that was recorded under somebody else, merged with them
        // then. Of a row that goes nothing stays, whosever it was before: it may have been given to whom it is about.
        Add(erased, "audit_value", await db.ExecuteAsync("""
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT entry_id FROM audit_value WHERE origin_customer_id = ANY (@ids)
                UNION ALL
                SELECT e.id FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.customer_id = ANY (@ids) AND v.origin_customer_id IS NULL
                UNION ALL
                SELECT e.id FROM unnest(@types, @records) AS r (type, id) JOIN audit_entry e ON e.record_type = r.type AND e.record_id = r.id)
            """, ct,
            new NpgsqlParameter<Guid[]>("ids", ids),
            new NpgsqlParameter<string[]>("types", [.. records.Where(r => r.Type is not null).Select(r => r.Type!)]),
            new NpgsqlParameter<Guid[]>("records", [.. records.Where(r => r.Type is not null).Select(r => r.Id)])));
        Add(erased, "outbox", await db.ExecuteAsync("""
            DELETE FROM outbox WHERE type <> ALL (@several) AND type <> ALL (@nobody) AND EXISTS (SELECT 1 FROM unnest(@names) AS n WHERE strpos(payload::text, n) > 0)
            """, ct, [.. Subjects(names)]));
        await db.ExecuteAsync("""
            UPDATE outbox SET payload = without_erased(payload, @names)
            WHERE type = ANY (@several) AND EXISTS (SELECT 1 FROM unnest(@names) AS n WHERE strpos(payload::text, n) > 0)
            """, ct, [.. Subjects(names)]);
        Add(erased, "dead_letter", await db.EraseDeadLettersAsync(names, ct));
        Add(erased, "idempotency", await db.ExecuteAsync(
            "DELETE FROM idempotency WHERE names && @names", ct, new NpgsqlParameter<string[]>("names", [.. names, .. records.Where(r => !r.Stays).Select(r => r.Name)])));
        // Of a record that stays only the answer goes: a request about somebody else that is sent again is not carried out again.
        // One without a body, as a 204 is, stays.
        Add(kept, "idempotency", await db.ExecuteAsync(
            $"UPDATE idempotency SET status = {Idempotency.ErasedAnswer}, headers = headers - 'ETag' - 'Content-Type', body = '' WHERE names && @names AND body <> ''", ct,
            new NpgsqlParameter<string[]>("names", [.. records.Where(r => r.Stays).Select(r => r.Name).Distinct(StringComparer.Ordinal)])));
        return new(erased, kept);

        static void Add(SortedDictionary<string, long> counts, string table, long rows) => counts[table] = counts.GetValueOrDefault(table) + rows;
    }

    /// <summary>A dead letter's type is an event's name, or the URN that ends with it; one that could not be read has none.</summary>
    private static async Task<int> EraseDeadLettersAsync(this CrmDbContext db, string[] names, CancellationToken ct)
    {
        var gone = await db.ExecuteAsync("""
            DELETE FROM dead_letter d
            WHERE EXISTS (SELECT 1 FROM unnest(@names) AS n WHERE strpos(d.body, n) > 0)
                AND NOT EXISTS (SELECT 1 FROM unnest(@several || @nobody) AS s WHERE d.type LIKE '%' || s)
            """, ct, [.. Subjects(names)]);
        await db.ExecuteAsync("""
            UPDATE dead_letter d SET body = CASE WHEN d.origin = 'outbox' THEN without_erased(d.body::jsonb, @names)
                ELSE jsonb_set(d.body::jsonb, '{message}', without_erased(d.body::jsonb->'message', @names)) END::text
            WHERE EXISTS (SELECT 1 FROM unnest(@names) AS n WHERE strpos(d.body, n) > 0)
                AND EXISTS (SELECT 1 FROM unnest(@several) AS s WHERE d.type LIKE '%' || s)
            """, ct, [.. Subjects(names)]);
        return gone;
    }

    private static IEnumerable<NpgsqlParameter> Subjects(string[] names) =>
    [
        new NpgsqlParameter<string[]>("names", names),
        new NpgsqlParameter<string[]>("several", NamesOf(EventSubject.Several)),
        new NpgsqlParameter<string[]>("nobody", NamesOf(EventSubject.Nobody)),
    ];

    private static string[] NamesOf(EventSubject subject) => [.. EventCatalog.All.Where(r => r.Subject == subject).Select(r => r.Name)];

    private static NpgsqlCommand Command(this CrmDbContext db, string sql, params IEnumerable<NpgsqlParameter> parameters)
    {
        var transaction = db.Database.CurrentTransaction ?? throw new InvalidOperationException("An erasure is one transaction.");
        var command = new NpgsqlCommand(sql, (NpgsqlConnection)db.Database.GetDbConnection(), (NpgsqlTransaction)transaction.GetDbTransaction())
        {
            CommandTimeout = (int)LongStatements.Limit.TotalSeconds,
        };
        command.Parameters.AddRange(parameters.ToArray());
        return command;
    }

    private static async Task<int> ExecuteAsync(this CrmDbContext db, string sql, CancellationToken ct, params IEnumerable<NpgsqlParameter> parameters)
    {
        await using var command = db.Command(sql, parameters);
        return await command.ExecuteNonQueryAsync(ct);
    }
}
