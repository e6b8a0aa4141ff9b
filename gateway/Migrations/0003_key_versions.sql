-- For If-Match: counts the changes of a key, not its use.
ALTER TABLE api_key ADD COLUMN version bigint NOT NULL DEFAULT 1;
