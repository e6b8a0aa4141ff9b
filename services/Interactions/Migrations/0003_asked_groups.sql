-- Of a campaign's message: the field groups that its segment asked about; null of other entries, and of messages sent before this was kept.
ALTER TABLE timeline ADD COLUMN asked_groups text[];
