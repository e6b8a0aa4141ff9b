using Crm.Contracts;
using Crm.Hosting.Erasure;

namespace Crm.Contacts.Features.Erasures;

/// <summary>
/// What an erasure does in Contacts. The rows of <c>customers</c> become tombstones before
/// (<see cref="Domain.Customer.Erase"/>). Nobody is kept on a suppression list: without a granted consent nobody is
/// written to, whoever enters the address again.
/// </summary>
internal static class ErasureSteps
{
    public static readonly IReadOnlyList<ErasureStep> All =
    [
        new(null, "SELECT set_config('crm.erasing', 'on', true)"),
        // Rows of an import that has not come to them yet fail, each with its line.
        new("import_rows", """
            UPDATE import_rows r SET body = CASE i.format WHEN 'csv' THEN '[]' ELSE 'null' END
            FROM imports i WHERE i.id = r.import_id AND EXISTS (
                SELECT 1 FROM customer_identifiers c WHERE c.customer_id = ANY (@ids) AND c.kind = 'email' AND strpos(lower(r.body), c.value) > 0)
            """),
        new("import_drafts", """
            DELETE FROM import_drafts d WHERE draft_id = ANY (@ids) OR EXISTS (
                SELECT 1 FROM import_draft_keys k JOIN customer_identifiers c USING (kind, value)
                WHERE (k.import_id, k.draft_id) = (d.import_id, d.draft_id) AND c.customer_id = ANY (@ids))
            """),
        new("import_results", "UPDATE import_results SET before = NULL, errors = NULL WHERE customer_id = ANY (@ids)", Kept: true),
        new("consent_confirmations", "DELETE FROM consent_confirmations WHERE customer_id = ANY (@ids)"),
        new("consents", "DELETE FROM consents WHERE customer_id = ANY (@ids) RETURNING id", Ids.Consent, "consent"),
        new("consent_states", "DELETE FROM consent_states WHERE customer_id = ANY (@ids)"),
        // Their rows in duplicate_keys go with their keys, by a trigger.
        new("duplicates", "DELETE FROM duplicates WHERE low_id = ANY (@ids) OR high_id = ANY (@ids)"),
        new("blocked_identifiers", """
            DELETE FROM blocked_identifiers b USING customer_identifiers c
            WHERE c.customer_id = ANY (@ids) AND (b.kind, b.value) = (c.kind, c.value)
                AND NOT EXISTS (SELECT 1 FROM customer_identifiers o WHERE (o.kind, o.value) = (c.kind, c.value) AND o.customer_id <> ALL (@ids))
            """),
        new("customer_identifiers", "DELETE FROM customer_identifiers WHERE customer_id = ANY (@ids)"),
        new("external_ids", "DELETE FROM external_ids WHERE customer_id = ANY (@ids)"),
        new("exports", "DELETE FROM exports WHERE customer_ids && @ids"),
        new("lifecycle_changes", "DELETE FROM lifecycle_changes WHERE origin_customer_id = ANY (@ids)"),
        new("placed_orders", "DELETE FROM placed_orders WHERE origin_customer_id = ANY (@ids)"),
        new("relationships", "DELETE FROM relationships WHERE origin_from_id = ANY (@ids) OR origin_to_id = ANY (@ids)"),
        new("change_requests", "DELETE FROM change_requests WHERE origin_customer_id = ANY (@ids) OR concerned && @ids RETURNING id", Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        // Asked for while a customer was merged with one of them, it has the other's values, as the history of that while has.
        new("change_requests", """
            DELETE FROM change_requests r USING merges m
            WHERE (m.survivor_id = ANY (@ids) OR m.absorbed_ids && @ids)
                AND r.concerned && (m.absorbed_ids || m.survivor_id) AND r.requested_at BETWEEN m.merged_at AND coalesce(m.undone_at, now())
            RETURNING r.id
            """, Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        new("grants", "DELETE FROM grants WHERE customer_id = ANY (@ids) RETURNING id", Ids.Grant, Domain.Grant.RecordType),
        new("account_managers", "DELETE FROM account_managers WHERE origin_customer_id = ANY (@ids)"),
        new("recycle_bin", "DELETE FROM recycle_bin WHERE customer_id = ANY (@ids)"),
        new("duplicate_overrides", "DELETE FROM duplicate_overrides WHERE customer_id = ANY (@ids)"),
        new("duplicate_overrides", "UPDATE duplicate_overrides SET reason = '' WHERE candidate_ids && @ids", Kept: true),
        new("legal_holds", "DELETE FROM legal_holds WHERE customer_id = ANY (@ids) RETURNING id", Ids.LegalHold, Domain.Erasures.LegalHold.RecordType),
        new("merge_previews", """
            DELETE FROM merge_previews WHERE survivor_id = ANY (@ids) OR EXISTS (
                SELECT 1 FROM jsonb_array_elements(members) AS m WHERE (m->>'id')::uuid = ANY (@ids))
            """),
        // A customer who was merged with one of them for a while has the other's values in the history of that while.
        new("audit_value", """
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT e.id FROM merges m CROSS JOIN LATERAL unnest(m.absorbed_ids || m.survivor_id) AS member
                JOIN audit_entry e ON e.record_type = 'customer' AND e.record_id = member AND e.at BETWEEN m.merged_at AND coalesce(m.undone_at, now())
                WHERE m.survivor_id = ANY (@ids) OR m.absorbed_ids && @ids)
            """),
        new("merges", """
            UPDATE merges SET manifest = '{"fields": {}}', reason = '', undo_reason = CASE WHEN undo_reason IS NOT NULL THEN '' END, erased_at = now()
            WHERE survivor_id = ANY (@ids) OR absorbed_ids && @ids
            RETURNING id
            """, Ids.Merge, Kept: true),
    ];
}
