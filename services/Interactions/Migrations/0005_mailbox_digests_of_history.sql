-- Who took part once is in the history still. By itself, so that nobody who writes waits for two indexes.
CREATE INDEX audit_value_mailboxes ON audit_value USING gin (mailbox_digests(changes::jsonb -> 'participants')) WITH (fastupdate = off)
    WHERE changes LIKE '%"participants"%@%';
ANALYZE audit_value;
