using Crm.Contacts.Features.Erasures;
using Crm.Contracts;
using Crm.Hosting.Erasure;

namespace Crm.Contacts.Features.Exports;

/// <summary>
/// What Contacts knows of a person. What was written while one of them was merged with somebody who is not exported may be the
/// other's, as an erasure takes it to be: that it was written is told without its values.
/// </summary>
internal static class ContactsTables
{
    /// <summary>Who was so, and when: directly or over others.</summary>
    private const string Shared = """
        WITH shared AS MATERIALIZED (
            SELECT DISTINCT one.id AS customer_id, w.since AS merged_at, coalesce(w.undone_at, 'infinity') AS undone_at
            FROM unnest(@ids) AS own (id)
            CROSS JOIN LATERAL (
                SELECT m.other, m.since, m.undone_at FROM merged_with(own.id) AS m
                UNION ALL
                SELECT m.other, m.since, m.undone_at FROM merged_into(own.id) AS m) AS w
            CROSS JOIN LATERAL unnest(ARRAY[own.id, w.other]) AS one (id)
            WHERE w.other <> ALL (@ids))
        """;

    /// <summary>As of other services, to both of a relationship; and of one that is no more, by whom its entries are filed under.</summary>
    public static readonly PersonalTable History = new("history", $"""
        {Shared}
        SELECT to_jsonb(e) - 'digest' - 'hash' - 'seq' || jsonb_build_object('changes', CASE WHEN NOT EXISTS (
            SELECT FROM shared s WHERE s.customer_id = e.customer_id AND e.at BETWEEN s.merged_at AND s.undone_at) THEN v.changes::jsonb END)
        FROM (
            SELECT entry_id AS id FROM audit_value WHERE origin_customer_id = ANY (@ids)
            UNION
            SELECT a.id FROM audit_entry a JOIN audit_value o ON o.entry_id = a.id
            WHERE a.customer_id = ANY (@ids) AND o.origin_customer_id IS NULL AND (a.record_type <> ALL (@following)
                OR (a.record_type = '{Domain.Relationship.RecordType}' AND NOT EXISTS (SELECT FROM relationships r WHERE r.id = a.record_id)))
            UNION
            SELECT a.id FROM unnest(@types, @records) AS r (type, id) JOIN audit_entry a ON a.record_type = r.type AND a.record_id = r.id) AS own
        JOIN audit_entry e ON e.id = own.id JOIN audit_value v ON v.entry_id = e.id ORDER BY e.id
        """, Ids.History);

    public static readonly IReadOnlyList<PersonalTable> All =
    [
        new("customers", "SELECT to_jsonb(t) - 'event_sequence' - 'search_name' - 'match_keys' FROM customers t WHERE id = ANY (@ids) ORDER BY id", Ids.Customer),
        new("identifiers", "SELECT to_jsonb(t) FROM customer_identifiers t WHERE customer_id = ANY (@ids) ORDER BY kind, value"),
        new("external_ids", "SELECT to_jsonb(t) FROM external_ids t WHERE customer_id = ANY (@ids) ORDER BY system, external_id"),
        new("consents", "SELECT to_jsonb(t) - 'sequence' FROM consents t WHERE customer_id = ANY (@ids) ORDER BY sequence", Ids.Consent, "consent"),
        new("current_consents", "SELECT to_jsonb(t) - 'id' - 'event_sequence' FROM consent_states t WHERE customer_id = ANY (@ids) ORDER BY channel, purpose"),
        new("consent_confirmations", $"""
            {Shared}
            SELECT to_jsonb(t) || CASE WHEN EXISTS (
                SELECT FROM shared s WHERE s.customer_id = t.customer_id AND t.requested_at BETWEEN s.merged_at AND s.undone_at)
                THEN jsonb_build_object('mailbox', NULL) ELSE jsonb_build_object() END
            FROM consent_confirmations t WHERE customer_id = ANY (@ids) ORDER BY requested_at
            """),
        new("merges", "SELECT to_jsonb(t) - 'event_sequence' - 'manifest' FROM merges t WHERE survivor_id = ANY (@ids) OR absorbed_ids && @ids ORDER BY id", Ids.Merge),
        new("import_rows", $"""
            {Shared}
            SELECT to_jsonb(t) || CASE WHEN EXISTS (
                SELECT FROM shared s JOIN imports i ON i.started_at <= s.undone_at AND coalesce(i.finished_at, now()) >= s.merged_at
                WHERE s.customer_id = t.customer_id AND i.id = t.import_id) THEN jsonb_build_object('before', NULL) ELSE jsonb_build_object() END
            FROM import_results t WHERE customer_id = ANY (@ids) ORDER BY import_id, row_no
            """),
        new("duplicate_overrides", "SELECT to_jsonb(t) FROM duplicate_overrides t WHERE customer_id = ANY (@ids)"),
        new("lifecycle", "SELECT to_jsonb(t) FROM lifecycle_changes t WHERE origin_customer_id = ANY (@ids) ORDER BY id"),
        new("relationships", "SELECT to_jsonb(t) FROM relationships t WHERE origin_from_id = ANY (@ids) OR origin_to_id = ANY (@ids) ORDER BY id", RecordType: Domain.Relationship.RecordType),
        new("account_managers", "SELECT to_jsonb(t) FROM account_managers t WHERE origin_customer_id = ANY (@ids) ORDER BY id"),
        new("recycle_bin", "SELECT to_jsonb(t) FROM recycle_bin t WHERE customer_id = ANY (@ids)"),
        new("change_requests", $"""
            {Shared}
            SELECT to_jsonb(r)
                || CASE WHEN shared_then.asked THEN jsonb_build_object('before', NULL, 'wanted', NULL) ELSE jsonb_build_object() END
                || CASE WHEN shared_then.asked OR shared_then.decided THEN jsonb_build_object('reason', NULL) ELSE jsonb_build_object() END
            FROM change_requests r CROSS JOIN LATERAL (
                SELECT coalesce(bool_or(r.requested_at BETWEEN s.merged_at AND s.undone_at), false) AS asked,
                    coalesce(bool_or(r.decided_at BETWEEN s.merged_at AND s.undone_at), false) AS decided
                FROM shared s WHERE s.customer_id = ANY (r.concerned || r.origin_customer_id)) AS shared_then
            WHERE r.origin_customer_id = ANY (@ids) OR r.concerned && @ids OR {ErasureSteps.AboutTheirRelationship} ORDER BY r.id
            """, Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        new("grants", "SELECT to_jsonb(t) - 'event_sequence' FROM grants t WHERE customer_id = ANY (@ids) ORDER BY id", Ids.Grant),
        new("duplicates", "SELECT to_jsonb(t) - 'id' FROM duplicates t WHERE low_id = ANY (@ids) OR high_id = ANY (@ids) ORDER BY id"),
        new("retention_results", "SELECT to_jsonb(t) FROM retention_results t WHERE customer_id = ANY (@ids) ORDER BY run_id"),
        new("legal_holds", "SELECT to_jsonb(t) FROM legal_holds t WHERE customer_id = ANY (@ids) ORDER BY id", Ids.LegalHold),
    ];
}
