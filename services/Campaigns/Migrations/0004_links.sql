-- A message is a campaign's, or asks one person to confirm a consent (double opt-in). Both go out by the same ledger.
-- Each mail carries a link whose token is stored as its hash only, so this row is what the link stands for.
ALTER TABLE messages
    ALTER COLUMN campaign_id DROP NOT NULL,
    ADD COLUMN kind         text NOT NULL DEFAULT 'campaign',
    ADD COLUMN link_hash    bytea,       -- SHA-256 of the token in the mail
    ADD COLUMN link_used_at timestamptz, -- last: unsubscribed from marketing, or confirmed
    ADD COLUMN confirms_id  uuid,        -- of a confirmation: the pending statement in Contacts' ledger
    ADD COLUMN purpose      text,
    ADD COLUMN to_address   text,
    ADD COLUMN wording      text,
    ADD COLUMN expires_at   timestamptz,
    ADD CONSTRAINT messages_kind CHECK (CASE kind
        WHEN 'campaign' THEN campaign_id IS NOT NULL
        WHEN 'confirmation' THEN campaign_id IS NULL AND confirms_id IS NOT NULL AND purpose IS NOT NULL AND to_address IS NOT NULL AND expires_at IS NOT NULL
        ELSE false END);
CREATE UNIQUE INDEX messages_link ON messages (link_hash) WHERE link_hash IS NOT NULL;
CREATE UNIQUE INDEX messages_confirms ON messages (confirms_id) WHERE confirms_id IS NOT NULL;
CREATE INDEX messages_unsubscribed ON messages (customer_id) WHERE link_used_at IS NOT NULL AND kind = 'campaign';
