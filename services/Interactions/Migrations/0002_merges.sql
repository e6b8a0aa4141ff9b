-- Under whom a row was recorded; customer_id is its owner, whom a merge changes (services/CustomerCopy/OwnedRows.cs).
ALTER TABLE interactions ADD COLUMN origin_customer_id uuid;
ALTER TABLE timeline ADD COLUMN origin_customer_id uuid;
UPDATE interactions SET origin_customer_id = customer_id;
UPDATE timeline SET origin_customer_id = customer_id;
ALTER TABLE interactions ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE timeline ALTER COLUMN origin_customer_id SET NOT NULL;
