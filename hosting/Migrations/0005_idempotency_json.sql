-- The same JSON in another order or layout is the same body; null where the body is no JSON, or an earlier release stored it.
ALTER TABLE idempotency ADD COLUMN json_hash bytea;
