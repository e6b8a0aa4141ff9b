using Crm.Contracts;
using Crm.Hosting.Erasure;

namespace Crm.Contacts.Features.Exports;

/// <summary>What Contacts knows of a person.</summary>
internal static class ContactsTables
{
    public static readonly IReadOnlyList<PersonalTable> All =
    [
        new("customers", "SELECT to_jsonb(t) - 'event_sequence' - 'search_name' - 'match_keys' FROM customers t WHERE id = ANY (@ids) ORDER BY id", Ids.Customer),
        new("identifiers", "SELECT to_jsonb(t) FROM customer_identifiers t WHERE customer_id = ANY (@ids) ORDER BY kind, value"),
        new("external_ids", "SELECT to_jsonb(t) FROM external_ids t WHERE customer_id = ANY (@ids) ORDER BY system, external_id"),
        new("consents", "SELECT to_jsonb(t) - 'sequence' FROM consents t WHERE customer_id = ANY (@ids) ORDER BY sequence", Ids.Consent),
        new("current_consents", "SELECT to_jsonb(t) - 'id' - 'event_sequence' FROM consent_states t WHERE customer_id = ANY (@ids) ORDER BY channel, purpose"),
        new("consent_confirmations", "SELECT to_jsonb(t) FROM consent_confirmations t WHERE customer_id = ANY (@ids) ORDER BY requested_at"),
        new("merges", "SELECT to_jsonb(t) - 'event_sequence' - 'manifest' FROM merges t WHERE survivor_id = ANY (@ids) OR absorbed_ids && @ids ORDER BY id", Ids.Merge),
        new("import_rows", "SELECT to_jsonb(t) FROM import_results t WHERE customer_id = ANY (@ids) ORDER BY import_id, row_no"),
        new("duplicate_overrides", "SELECT to_jsonb(t) FROM duplicate_overrides t WHERE customer_id = ANY (@ids)"),
        new("lifecycle", "SELECT to_jsonb(t) FROM lifecycle_changes t WHERE origin_customer_id = ANY (@ids) ORDER BY id"),
        new("relationships", "SELECT to_jsonb(t) FROM relationships t WHERE origin_from_id = ANY (@ids) OR origin_to_id = ANY (@ids) ORDER BY id"),
        new("account_managers", "SELECT to_jsonb(t) FROM account_managers t WHERE origin_customer_id = ANY (@ids) ORDER BY id"),
        new("recycle_bin", "SELECT to_jsonb(t) FROM recycle_bin t WHERE customer_id = ANY (@ids)"),
        new("change_requests", "SELECT to_jsonb(t) FROM change_requests t WHERE origin_customer_id = ANY (@ids) OR concerned && @ids ORDER BY id", Ids.ChangeRequest),
        new("grants", "SELECT to_jsonb(t) - 'event_sequence' FROM grants t WHERE customer_id = ANY (@ids) ORDER BY id", Ids.Grant),
        new("duplicates", "SELECT to_jsonb(t) - 'id' FROM duplicates t WHERE low_id = ANY (@ids) OR high_id = ANY (@ids) ORDER BY id"),
        new("legal_holds", "SELECT to_jsonb(t) FROM legal_holds t WHERE customer_id = ANY (@ids) ORDER BY id", Ids.LegalHold),
    ];
}
