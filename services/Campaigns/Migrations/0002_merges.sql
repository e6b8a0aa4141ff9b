-- Under whom a row was recorded; customer_id is its owner, whom a merge changes (services/CustomerCopy/OwnedRows.cs).
ALTER TABLE orders ADD COLUMN origin_customer_id uuid;
ALTER TABLE cases ADD COLUMN origin_customer_id uuid;
ALTER TABLE interactions ADD COLUMN origin_customer_id uuid;
ALTER TABLE messages ADD COLUMN origin_customer_id uuid;
UPDATE orders SET origin_customer_id = customer_id;
UPDATE cases SET origin_customer_id = customer_id;
UPDATE interactions SET origin_customer_id = customer_id;
UPDATE messages SET origin_customer_id = customer_id;
ALTER TABLE orders ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE cases ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE interactions ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE messages ALTER COLUMN origin_customer_id SET NOT NULL;

-- Solved cases follow their customers too.
CREATE INDEX cases_customer ON cases (customer_id);

-- Who was a member when the campaign was launched; a merge gives the survivor the messages of both.
ALTER TABLE messages DROP CONSTRAINT messages_member_key,
    ADD CONSTRAINT messages_member_key UNIQUE (campaign_id, origin_customer_id, channel);
