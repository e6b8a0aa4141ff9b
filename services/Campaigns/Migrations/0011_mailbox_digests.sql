-- Erasures name mailboxes by their digests only.
CREATE FUNCTION mailbox_digest(address text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT sha256(convert_to(lower(address), 'UTF8')) $$;
CREATE INDEX campaign_addresses_digest ON campaign_addresses (mailbox_digest(address));
