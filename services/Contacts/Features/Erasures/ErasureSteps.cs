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
    /// <summary>Merges of those who had the values of one of the erased then: what was compared and why may have them too.</summary>
    private const string MergesWithTheirs = """
        SELECT g.id FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w
        CROSS JOIN LATERAL (
            SELECT m.id FROM merges m
            WHERE (m.survivor_id = w.other OR m.absorbed_ids @> ARRAY[w.other]) AND m.merged_at BETWEEN w.since AND coalesce(w.undone_at, 'infinity') OFFSET 0) AS g
        """;

    /// <summary>
    /// Of change requests r that are filed under others: those about a relationship with one of them, which was asked for, is, or
    /// was. Of one that is no more the log knows with whom it was. Parameters as those of <see cref="ErasureStep"/>.
    /// </summary>
    public const string AboutTheirRelationship = """
        (r.operation = 'create_relationship' AND r.wanted ->> 'to_id' = ANY (@names))
        OR (r.operation IN ('change_relationship', 'delete_relationship') AND (
            EXISTS (SELECT FROM relationships s WHERE s.id = r.subject_id AND s.origin_to_id = ANY (@ids))
            OR EXISTS (
                SELECT FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
                WHERE e.record_type = 'relationship' AND e.record_id = r.subject_id AND e.action = 'created'
                    AND (v.changes::jsonb -> 'to_id' ->> 'new') = ANY (@ids::text[]))))
        """;

    /// <summary>
    /// The addresses and numbers that they have (present), and those that they had, as <see cref="EraseCustomer"/> has told them
    /// before anything went: whether nobody else has them today (alone). Of a former one that somebody else has, what is
    /// written anywhere is that one's.
    /// </summary>
    public const string TheirIdentifiers = """
        theirs AS MATERIALIZED (
            SELECT t.kind, t.value, t.present, t.alone
            FROM jsonb_to_recordset(coalesce(nullif(current_setting('crm.erased_identifiers', true), ''), '[]')::jsonb) AS t (kind text, value text, present boolean, alone boolean))
        """;

    public static readonly IReadOnlyList<ErasureStep> All =
    [
        new(null, "SELECT set_config('crm.erasing', 'on', true)"),
        // Rows of an import that has not come to them yet fail, each with its line. An e-mail address is found anywhere in a row
        // where it is no part of a longer one: joann@ and jo.ann@ are others than ann@, .org.uk is another domain than .org. A
        // character that an escape of JSON stands for is in no address. In doubt it is theirs. A phone number, which may be
        // written with blanks, with (0) and without its calling code, is found between other characters than digits; an
        // external id, and the value of a unique field, in the column or member that it fills. What they had before
        // is found in the same way, unless somebody else has it now.
        new("import_rows", $$$"""
            WITH {{{TheirIdentifiers}}}
            UPDATE import_rows r SET body = CASE i.format WHEN 'ndjson' THEN 'null' ELSE '[]' END
            FROM imports i CROSS JOIN LATERAL (SELECT CASE jsonb_typeof(i.mapping -> 'fields') WHEN 'object' THEN i.mapping -> 'fields' END AS fields) AS m
            WHERE i.id = r.import_id AND (
                EXISTS (
                    SELECT FROM theirs c
                    WHERE (c.present OR c.alone) AND CASE
                        WHEN c.kind = 'email' AND strpos(lower(r.body), c.value) = 0 THEN false
                        WHEN c.kind = 'email' THEN EXISTS (
                            SELECT FROM (
                                SELECT right(p.part, 2) AS before, left(lead(p.part) OVER (ORDER BY p.n), 2) AS after
                                FROM unnest(string_to_array(regexp_replace(lower(r.body), '\\(u[0-9a-f]{4}|.)', '  ', 'g'), c.value)) WITH ORDINALITY AS p (part, n)) AS around
                            WHERE around.after IS NOT NULL AND around.before !~ '([a-z0-9]|[a-z0-9][._+&''-])$' AND around.after !~ '^[.-]?[a-z0-9]')
                        WHEN strpos(translate(r.body, E' -.()/\u00a0', ''), right(c.value, 4)) = 0 THEN false
                        ELSE EXISTS (
                            SELECT FROM unnest(ARRAY[r.body, regexp_replace(r.body, E'\\([ \u00a0]*0[ \u00a0]*\\)', '', 'g')]) AS written (body)
                            WHERE translate(written.body, E' -.()/\u00a0', '') ~ (
                                '(^|[^0-9])0*(' || ltrim(c.value, '+')
                                || CASE WHEN starts_with(c.value, i.mapping ->> 'calling_code')
                                    THEN '|(' || ltrim(i.mapping ->> 'calling_code', '+') || ')?0*' || substr(c.value, length(i.mapping ->> 'calling_code') + 1) ELSE '' END
                                || ')([^0-9]|$)')) END)
                OR EXISTS (
                    SELECT FROM external_ids e
                    CROSS JOIN LATERAL (SELECT translate(r.body, E' \t"', '') AS body, translate(to_json(e.external_id)::text, E' \t"', '') AS id) AS bare
                    WHERE e.customer_id = ANY (@ids) AND CASE
                        WHEN strpos(bare.body, bare.id) = 0 THEN false
                        WHEN i.format = 'csv' THEN EXISTS (
                            SELECT FROM unnest(i.columns) WITH ORDINALITY AS cell (name, n)
                            WHERE 'external_id.' || e.system = coalesce((SELECT f.value FROM jsonb_each_text(m.fields) AS f WHERE lower(btrim(f.key)) = lower(btrim(cell.name)) LIMIT 1), btrim(cell.name))
                                AND btrim(r.body::jsonb ->> (cell.n - 1)::integer) = e.external_id)
                        WHEN coalesce(m.fields, '{}') = '{}' THEN
                            strpos(bare.body, '{system:' || e.system || ',id:' || bare.id || '}') > 0 OR strpos(bare.body, '{id:' || bare.id || ',system:' || e.system || '}') > 0
                        ELSE EXISTS (
                            SELECT FROM jsonb_each_text(m.fields) AS f
                            CROSS JOIN LATERAL (SELECT lower(translate(f.key, E' \t"', '') || ':' || bare.id) AS pair) AS member
                            CROSS JOIN unnest(ARRAY['{', ',']) AS opening CROSS JOIN unnest(ARRAY[',', '}']) AS closing
                            WHERE f.value = 'external_id.' || e.system AND strpos(lower(bare.body), opening || member.pair || closing) > 0) END)
                OR EXISTS (
                    SELECT FROM jsonb_to_recordset(coalesce(nullif(current_setting('crm.erased_values', true), ''), '[]')::jsonb) AS u (field text, value text, number boolean)
                    CROSS JOIN LATERAL (SELECT translate(r.body, E' \t"', '') AS body, translate(to_json(u.value)::text, E' \t"', '') AS value) AS bare
                    WHERE CASE
                        WHEN strpos(bare.body, bare.value) = 0 THEN false
                        WHEN i.format = 'csv' THEN EXISTS (
                            SELECT FROM unnest(i.columns) WITH ORDINALITY AS cell (name, n)
                            WHERE 'attributes.' || u.field = coalesce((SELECT f.value FROM jsonb_each_text(m.fields) AS f WHERE lower(btrim(f.key)) = lower(btrim(cell.name)) LIMIT 1), btrim(cell.name))
                                AND CASE WHEN u.number THEN btrim(r.body::jsonb ->> (cell.n - 1)::integer) ~ ('^[+]?0*' || u.value || '([.]0*)?$')
                                    ELSE btrim(r.body::jsonb ->> (cell.n - 1)::integer) = u.value END)
                        ELSE EXISTS (
                            SELECT FROM (
                                SELECT u.field AS name WHERE coalesce(m.fields, '{}') = '{}'
                                UNION ALL SELECT f.key FROM jsonb_each_text(m.fields) AS f WHERE f.value = 'attributes.' || u.field) AS member
                            CROSS JOIN LATERAL (SELECT lower(translate(member.name, E' \t"', '') || ':' || bare.value) AS pair) AS written
                            CROSS JOIN unnest(ARRAY['{', ',']) AS opening CROSS JOIN unnest(ARRAY[',', '}']) AS closing
                            WHERE strpos(lower(bare.body), opening || written.pair || closing) > 0 AND strpos(bare.body, ':' || bare.value || closing) > 0) END))
            """),
        // A draft has keys for what its import matches on only.
        new("import_drafts", $"""
            WITH {TheirIdentifiers}
            DELETE FROM import_drafts d WHERE draft_id = ANY (@ids)
                OR EXISTS (
                    SELECT FROM import_draft_keys k JOIN theirs c USING (kind, value)
                    WHERE (k.import_id, k.draft_id) = (d.import_id, d.draft_id) AND (c.present OR c.alone))
                OR EXISTS (
                    SELECT FROM jsonb_array_elements_text(jsonb_path_query_array(d.customer, '$.emails[*].address')) AS a (value)
                    JOIN theirs c ON c.kind = 'email' AND c.alone AND c.value = lower(a.value))
                OR EXISTS (
                    SELECT FROM jsonb_array_elements_text(jsonb_path_query_array(d.customer, '$.phones[*].number')) AS p (value)
                    JOIN theirs c ON c.kind = 'phone' AND c.alone AND c.value = p.value)
            """),
        new("import_results", "UPDATE import_results SET before = NULL, errors = NULL WHERE customer_id = ANY (@ids)", Kept: true),
        // An import that changed a customer who was merged with one of them then, directly or over others, has the other's values,
        // as its history has.
        new("import_results", """
            UPDATE import_results r SET before = NULL
            FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w, imports i
            WHERE r.customer_id = w.other AND r.before IS NOT NULL
                AND i.id = r.import_id AND i.started_at <= coalesce(w.undone_at, 'infinity') AND coalesce(i.finished_at, 'infinity') >= w.since
            """, Kept: true),
        new("consent_confirmations", "DELETE FROM consent_confirmations WHERE customer_id = ANY (@ids)"),
        // Asked of somebody else, who was merged with one of them then or had the address.
        new("consent_confirmations", $"""
            WITH {TheirIdentifiers}
            UPDATE consent_confirmations f SET mailbox = NULL FROM theirs c WHERE c.kind = 'email' AND c.alone AND f.mailbox = c.value
            """, Kept: true),
        new("consents", "DELETE FROM consents WHERE customer_id = ANY (@ids) RETURNING id", Ids.Consent, "consent"),
        new("consent_states", "DELETE FROM consent_states WHERE customer_id = ANY (@ids)"),
        // Their rows in duplicate_keys go with their keys, by a trigger.
        new("duplicates", "DELETE FROM duplicates WHERE low_id = ANY (@ids) OR high_id = ANY (@ids) RETURNING id", Ids.Duplicate, Domain.Duplicates.Duplicate.RecordType),
        // Merges, and their undo, decided the pairs of others too, with their reasons, which are forgotten below.
        new("duplicates", $"""
            UPDATE duplicates d SET reason = NULL FROM merges m
            WHERE d.reason IS NOT NULL AND m.id IN ({MergesWithTheirs}) AND (m.id = d.merge_id OR d.decided_at IN (m.merged_at, m.undo_asked_at))
            RETURNING d.id
            """, Ids.Duplicate, Domain.Duplicates.Duplicate.RecordType, Kept: true),
        new("blocked_identifiers", $"""
            WITH {TheirIdentifiers}
            DELETE FROM blocked_identifiers b USING theirs c WHERE c.alone AND (b.kind, b.value) = (c.kind, c.value) RETURNING b.id
            """, Ids.BlockedIdentifier, Domain.Duplicates.BlockedIdentifier.RecordType),
        // Of one that counts again there is no row any more; the log has its value.
        new(null, $"""
            WITH {TheirIdentifiers},
            blocked AS MATERIALIZED (
                SELECT e.record_id AS id, v.changes::jsonb AS changes FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
                WHERE e.record_type = '{Domain.Duplicates.BlockedIdentifier.RecordType}' AND e.action = 'created')
            SELECT DISTINCT b.id FROM blocked b
            JOIN theirs c ON c.alone AND c.kind = (b.changes -> 'kind' ->> 'new') AND c.value = (b.changes -> 'value' ->> 'new')
            """, Ids.BlockedIdentifier, Domain.Duplicates.BlockedIdentifier.RecordType),
        new("customer_identifiers", "DELETE FROM customer_identifiers WHERE customer_id = ANY (@ids)"),
        new("external_ids", "DELETE FROM external_ids WHERE customer_id = ANY (@ids)"),
        new("exports", "DELETE FROM exports WHERE customer_ids && @ids"),
        new("lifecycle_changes", "DELETE FROM lifecycle_changes WHERE origin_customer_id = ANY (@ids)"),
        new("placed_orders", "DELETE FROM placed_orders WHERE origin_customer_id = ANY (@ids)"),
        // Before the relationships themselves, by which they are found.
        new("change_requests", $"DELETE FROM change_requests r WHERE {AboutTheirRelationship} RETURNING r.id", Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        new("relationships", "DELETE FROM relationships WHERE origin_from_id = ANY (@ids) OR origin_to_id = ANY (@ids) RETURNING id", Ids.Relationship, Domain.Relationship.RecordType),
        new("change_requests", "DELETE FROM change_requests WHERE origin_customer_id = ANY (@ids) OR concerned && @ids RETURNING id", Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        // Asked for while a customer was merged with one of them, it has the other's values, as the history of that while has.
        new("change_requests", """
            DELETE FROM change_requests r USING unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w
            WHERE r.concerned @> ARRAY[w.other] AND r.requested_at BETWEEN w.since AND coalesce(w.undone_at, 'infinity')
            RETURNING r.id
            """, Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        // Asked for at any time, it may be about an address or a number of theirs that nobody else has.
        new("change_requests", $"""
            WITH {TheirIdentifiers}
            DELETE FROM change_requests r
            WHERE ((r.wanted -> 'emails') IS NOT NULL AND EXISTS (
                    SELECT FROM jsonb_array_elements_text(jsonb_path_query_array(jsonb_build_array(r.before, r.wanted), '$[*].emails[*].address')) AS a (value)
                    JOIN theirs c ON c.kind = 'email' AND c.alone AND c.value = lower(a.value)))
                OR ((r.wanted -> 'phones') IS NOT NULL AND EXISTS (
                    SELECT FROM jsonb_array_elements_text(jsonb_path_query_array(jsonb_build_array(r.before, r.wanted), '$[*].phones[*].number')) AS p (value)
                    JOIN theirs c ON c.kind = 'phone' AND c.alone AND c.value = p.value))
            RETURNING r.id
            """, Ids.ChangeRequest, Domain.ChangeRequest.RecordType),
        // Asked for before and rejected in that while, it has a reason that may say what the other is.
        new("audit_value", $"""
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT e.id FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w
                JOIN change_requests r ON r.concerned @> ARRAY[w.other]
                JOIN audit_entry e ON e.record_type = '{Domain.ChangeRequest.RecordType}' AND e.record_id = r.id AND e.action = 'rejected'
                    AND e.at BETWEEN w.since AND coalesce(w.undone_at, 'infinity'))
            """),
        new("change_requests", """
            UPDATE change_requests r SET reason = NULL FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w
            WHERE r.reason IS NOT NULL AND r.concerned @> ARRAY[w.other] AND r.decided_at BETWEEN w.since AND coalesce(w.undone_at, 'infinity')
            RETURNING r.id
            """, Ids.ChangeRequest, Kept: true),
        new("grants", "DELETE FROM grants WHERE customer_id = ANY (@ids) RETURNING id", Ids.Grant, Domain.Grant.RecordType),
        new("account_managers", "DELETE FROM account_managers WHERE origin_customer_id = ANY (@ids)"),
        new("recycle_bin", "DELETE FROM recycle_bin WHERE customer_id = ANY (@ids)"),
        // Why another customer is not one of them may say what they are.
        new("audit_value", $"""
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT e.id FROM duplicate_overrides o JOIN audit_entry e ON e.record_type = '{DuplicateOverride.RecordType}' AND e.record_id = o.customer_id
                WHERE o.candidate_ids && @ids)
            """),
        new("duplicate_overrides", "DELETE FROM duplicate_overrides WHERE customer_id = ANY (@ids)"),
        new("duplicate_overrides", "UPDATE duplicate_overrides SET reason = '' WHERE candidate_ids && @ids", Kept: true),
        // That they were kept before, and why; the counts of the runs stay.
        new("retention_results", "DELETE FROM retention_results WHERE customer_id = ANY (@ids)"),
        new("legal_holds", "DELETE FROM legal_holds WHERE customer_id = ANY (@ids) RETURNING id", Ids.LegalHold, Domain.Erasures.LegalHold.RecordType),
        new("merge_previews", """
            DELETE FROM merge_previews WHERE survivor_id = ANY (@ids) OR EXISTS (
                SELECT 1 FROM jsonb_array_elements(members) AS m WHERE (m->>'id')::uuid = ANY (@ids))
            """),
        // One that was not used does not say when it was made.
        new("merge_previews", $"""
            WITH theirs AS MATERIALIZED (SELECT w.other, w.since FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w)
            DELETE FROM merge_previews p WHERE p.merge_id IN ({MergesWithTheirs}) OR (p.merge_id IS NULL AND EXISTS (
                SELECT 1 FROM jsonb_array_elements(p.members) AS m JOIN theirs t ON t.other = (m->>'id')::uuid WHERE p.expires_at >= t.since))
            """),
        // A customer who was merged with one of them for a while, directly or over others, has the other's values in the history of
        // that while.
        new("audit_value", """
            DELETE FROM audit_value WHERE entry_id IN (
                SELECT e.id FROM unnest(@ids) AS own (id) CROSS JOIN LATERAL merged_into(own.id) AS w
                JOIN audit_entry e ON e.record_type = 'customer' AND e.record_id = w.other AND e.at BETWEEN w.since AND coalesce(w.undone_at, 'infinity'))
            """),
        new("merges", """
            UPDATE merges SET manifest = '{"fields": {}}', reason = '', undo_reason = CASE WHEN undo_reason IS NOT NULL THEN '' END, erased_at = now()
            WHERE survivor_id = ANY (@ids) OR absorbed_ids && @ids
            RETURNING id
            """, Ids.Merge, Kept: true),
        // These can be undone still.
        new("merges", $$$"""
            UPDATE merges SET manifest = '{"fields": {}}', reason = '', undo_reason = CASE WHEN undo_reason IS NOT NULL THEN '' END
            WHERE erased_at IS NULL AND id IN ({{{MergesWithTheirs}}})
            RETURNING id
            """, Ids.Merge, Kept: true),
    ];
}
