-- What proves a statement: where it came from and, when it came by a link of a mail, which.
ALTER TABLE consents
    ADD COLUMN wording_version text,
    ADD COLUMN ip              inet,
    ADD COLUMN evidence        jsonb,
    ADD COLUMN sequence        bigint GENERATED ALWAYS AS IDENTITY; -- order of recording

-- The ledger is append-only, whoever writes. Two exceptions: a merge moves a statement to another owner and changes
-- nothing of what was said; an erasure, which announces itself in its transaction (SET LOCAL crm.erasing = 'on').
CREATE FUNCTION consents_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('crm.erasing', true), '') = 'on' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - 'customer_id' - 'origin_customer_id' = to_jsonb(OLD) - 'customer_id' - 'origin_customer_id' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'The consent ledger is append-only.' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consents_append_only BEFORE UPDATE OR DELETE ON consents FOR EACH ROW EXECUTE FUNCTION consents_are_append_only();
CREATE TRIGGER consents_no_truncate BEFORE TRUNCATE ON consents FOR EACH STATEMENT EXECUTE FUNCTION consents_are_append_only();

-- What the ledger alone says now; consent_states of a customer without merges is equal to it, and can be made anew from it.
CREATE VIEW consent_ledger_states AS
    SELECT DISTINCT ON (customer_id, channel, purpose) customer_id, channel, purpose, state, at
    FROM consents ORDER BY customer_id, channel, purpose, at DESC, sequence DESC;

-- Pending consents that wait for a click in the person's own mailbox.
CREATE TABLE consent_confirmations (
    consent_id   uuid PRIMARY KEY REFERENCES consents (id) ON DELETE CASCADE,
    customer_id  uuid NOT NULL REFERENCES customers (id),
    channel      text NOT NULL,
    purpose      text NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    confirmed_at timestamptz
);
CREATE INDEX consent_confirmations_customer ON consent_confirmations (customer_id, requested_at);
