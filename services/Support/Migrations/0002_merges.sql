-- Under whom a case was recorded; customer_id is its owner, whom a merge changes (services/CustomerCopy/OwnedRows.cs).
ALTER TABLE cases ADD COLUMN origin_customer_id uuid;
UPDATE cases SET origin_customer_id = customer_id;
ALTER TABLE cases ALTER COLUMN origin_customer_id SET NOT NULL;
