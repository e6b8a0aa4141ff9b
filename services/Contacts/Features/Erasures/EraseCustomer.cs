using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.CustomFields;
using Crm.Contacts.Domain.Erasures;
using Crm.Contacts.Features.CustomFields;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Erasure;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Erasures;

/// <summary>
/// Erases a customer with all who were merged into it, for good; needs <c>If-Match</c>. 202 with the erasure, which is
/// <c>completed</c> when every service has sent its signed receipt. From then on the customer answers 410 <c>erased</c>,
/// under every id. 409 <c>legal_hold</c> while a hold is set on any of them. One in the recycle bin need not be restored before,
/// and of one whose import was undone the rows that other services have got all the same are erased.
/// </summary>
internal static class EraseCustomer
{
    public sealed record Request
    {
        /// <summary>Why. It stays on record: without personal data.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    public static async Task<Accepted<ErasureView>> Handle(
        string id, Request body, HttpContext http, ContactsDb db, SignedStatements statements, IOptions<ErasureOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var key = await db.FindStoredAtPathAsync(id, http, ct);
        var erasure = await db.InTransactionAsync(async () =>
        {
            await db.LockBinnedAsync(key, ct);
            var customers = await db.LockWithAbsorbedAsync(key, ct, removed: true);
            ETags.RequireMatch(http, customers[key].Version);
            foreach (var customer in customers.Values)
            {
                await db.RequireDepartmentAsync(customer, ct);
            }

            await db.RequireNoHoldAsync(customers.Keys, ct);
            return await EraseAsync(db, key, customers, body.Reason!, http.User.Subject(), statements, options.Value, clock.GetUtcNow(), ct);
        }, ct);
        var view = ErasureView.Of(erasure, clock.GetUtcNow());
        return TypedResults.Accepted($"/v1/erasures/{view.Id}", view);
    }

    /// <param name="customers">The customer and all whom it has absorbed, locked.</param>
    public static async Task<Erasure> EraseAsync(
        ContactsDb db, Guid key, Dictionary<Guid, Customer> customers, string reason, string actor, SignedStatements statements, ErasureOptions options, DateTimeOffset now, CancellationToken ct)
    {
        var erasure = Erasure.Begin(key, customers.Keys, reason, actor, options.BackupDays, now);
        db.Erasures.Add(erasure);
        if (customers[key].State == CustomerState.Deleted)
        {
            // What is found by its identifiers, such as the rows of an import to come, is to be found once more.
            (await db.Whole().FirstAsync(c => c.Id == key, ct)).BringBack(now);
            await db.SaveChangesAsync(ct);
        }

        Guid[] ids = [.. erasure.CustomerIds];
        await TellUniqueValuesAsync(db, customers.Values, ct);
        var mailboxes = await TellIdentifiersAsync(db, ids, ct);
        foreach (var customer in customers.Values)
        {
            customer.Erase(now);
        }

        await db.SaveChangesAsync(ct);
        string[] names = [.. ids.Select(id => Ids.Customer.Format(id))];
        var counts = await db.EraseAsync(ids, ids, names, mailboxes, ct);
        db.Audit("erased", Customer.RecordType, key, key, AuditChanges.Between(null, counts));
        var statement = new ErasureStatement(
            "contacts", Ids.Erasure.Format(erasure.Id), Ids.Customer.Format(key), names, counts.Erased, counts.Kept, now, erasure.BackupsGoneBy);
        erasure.Take(statement, statements.Sign(statement), now);
        db.Publish(erasure, new CustomersErased(statement.ErasureId, statement.CustomerId, [.. customers.Values.Select(c => c.Snapshot())], now, erasure.BackupsGoneBy, mailboxes));
        await db.SaveChangesAsync(ct);
        return erasure;
    }

    /// <summary>
    /// To <see cref="ErasureSteps"/>, until the transaction ends: the addresses and numbers that the customers have, and those
    /// that they had, as their history, their own fields and those from before merges know them. All of this goes with the
    /// erasure, in the same transaction, and the other services hear of it by the event that is saved in it.
    /// </summary>
    /// <returns><see cref="CustomersErased.Mailboxes"/>.</returns>
    private static async Task<string[]> TellIdentifiersAsync(ContactsDb db, Guid[] ids, CancellationToken ct)
    {
        // A history can be long.
        using var unhurried = db.AllowLongStatements();
        await db.Database.ExecuteSqlAsync($"""
            WITH written AS (
                SELECT v.changes::jsonb AS document FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
                -- What somebody else brought into a merge is not theirs.
                WHERE e.record_type = 'customer' AND e.record_id = ANY ({ids}) AND e.action NOT IN ('merged', 'unmerged')
                UNION ALL
                SELECT jsonb_build_object('emails', c.emails, 'phones', c.phones, 'layers', c.layers) FROM customers c WHERE c.id = ANY ({ids})),
            theirs AS (
                SELECT c.kind, c.value FROM customer_identifiers c WHERE c.customer_id = ANY ({ids})
                UNION
                SELECT 'email', lower(a.value) FROM written w
                CROSS JOIN LATERAL jsonb_array_elements_text(jsonb_path_query_array(w.document, '$.**.emails.**.address')) AS a (value)
                WHERE strpos(a.value, '@') > 0
                UNION
                SELECT 'phone', p.value FROM written w
                CROSS JOIN LATERAL jsonb_array_elements_text(jsonb_path_query_array(w.document, '$.**.phones.**.number')) AS p (value)
                WHERE p.value ~ '^[+][0-9]+$')
            SELECT set_config('crm.erased_identifiers', coalesce(jsonb_agg(jsonb_build_object(
                'kind', t.kind, 'value', t.value,
                'present', EXISTS (SELECT FROM customer_identifiers c WHERE (c.kind, c.value) = (t.kind, t.value) AND c.customer_id = ANY ({ids})),
                'alone', NOT EXISTS (SELECT FROM customer_identifiers o WHERE (o.kind, o.value) = (t.kind, t.value) AND o.customer_id <> ALL ({ids}))
                    -- Who can come back out of the recycle bin has it too.
                    AND NOT EXISTS (SELECT FROM recycle_bin b JOIN customers c ON c.id = b.customer_id WHERE c.id <> ALL ({ids}) AND (
                        EXISTS (SELECT FROM jsonb_array_elements(c.emails) AS m WHERE t.kind = 'email' AND lower(m ->> 'address') = t.value)
                        OR EXISTS (SELECT FROM jsonb_array_elements(c.phones) AS p WHERE t.kind = 'phone' AND p ->> 'number' = t.value)))))::text, '[]'), true)
            FROM theirs t
            """, ct);
        return await db.Database.SqlQueryRaw<string>($"""
            WITH {ErasureSteps.TheirIdentifiers}
            SELECT encode(sha256(convert_to(t.value, 'UTF8')), 'hex') AS "Value" FROM theirs t WHERE t.kind = 'email' AND t.alone ORDER BY 1
            """).ToArrayAsync(ct);
    }

    /// <summary>To <see cref="ErasureSteps"/>, until the transaction ends: rows of imports may know a customer by nothing else.</summary>
    private static async Task TellUniqueValuesAsync(ContactsDb db, IReadOnlyCollection<Customer> customers, CancellationToken ct)
    {
        var values = (await db.ReadFieldsAsync(ct)).Unique.SelectMany(f => customers
            .Select(c => c.Attributes.TryGetValue(f.Name, out var value) ? f.KeyOf(value) : null).OfType<string>().Distinct(StringComparer.Ordinal)
            .Select(key => new { field = f.Name, value = key, number = f.Type == CustomFieldType.Integer }));
        await db.Database.ExecuteSqlAsync($"SELECT set_config('crm.erased_values', {JsonSerializer.Serialize(values)}, true)", ct);
    }
}
