-- A pause is a statement of its own: nothing is sent until then, and what was granted stays granted.
ALTER TABLE consents ADD COLUMN paused_until timestamptz;
ALTER TABLE consent_states
    ADD COLUMN paused_until timestamptz,
    ADD COLUMN paused_at    timestamptz; -- when the pause was said

CREATE OR REPLACE VIEW consent_ledger_states AS
    SELECT DISTINCT ON (customer_id, channel, purpose) customer_id, channel, purpose, state, at
    FROM consents WHERE state <> 'paused' ORDER BY customer_id, channel, purpose, at DESC, sequence DESC;
