-- Whose the values are: under whom the row that they are of was recorded when they were written. Null when it has no such origin, and
-- of what the release before writes: then they are theirs under whom the entry is filed. The chain does not cover it.
ALTER TABLE audit_value ADD COLUMN origin_customer_id uuid;
