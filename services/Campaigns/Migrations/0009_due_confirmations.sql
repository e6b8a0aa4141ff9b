-- Confirmations go out while campaigns wait for an answer of Contacts, however many of those are due before them.
CREATE INDEX messages_due_confirmations ON messages (next_at, id) WHERE status = 'pending' AND kind = 'confirmation';
