-- An index on an expression has no statistics before they are asked for.
CREATE INDEX messages_confirmation_digest ON messages (mailbox_digest(to_address)) WHERE kind = 'confirmation';
ANALYZE campaign_addresses;
ANALYZE messages;
