-- Rebuilds of timelines read those that were sent, in the order of their ids.
CREATE INDEX messages_sent ON messages (id) WHERE kind = 'campaign' AND status = 'sent';
