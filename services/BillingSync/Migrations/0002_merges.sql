-- Under whom a record was recorded; customer_id is its owner, whom a merge changes (services/CustomerCopy/OwnedRows.cs).
ALTER TABLE orders ADD COLUMN origin_customer_id uuid;
ALTER TABLE invoices ADD COLUMN origin_customer_id uuid;
ALTER TABLE payments ADD COLUMN origin_customer_id uuid;
UPDATE orders SET origin_customer_id = customer_id;
UPDATE invoices SET origin_customer_id = customer_id;
UPDATE payments SET origin_customer_id = customer_id;
ALTER TABLE orders ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE invoices ALTER COLUMN origin_customer_id SET NOT NULL;
ALTER TABLE payments ALTER COLUMN origin_customer_id SET NOT NULL;

-- "An order of the same customer" is asked when it is written. It need not stay so: an invoice that the survivor of a
-- merge got for an order of the absorbed one stays with the survivor when the merge is undone.
ALTER TABLE invoices DROP CONSTRAINT invoices_order,
    ADD CONSTRAINT invoices_order FOREIGN KEY (order_id) REFERENCES orders (id);
ALTER TABLE payments DROP CONSTRAINT payments_invoice,
    ADD CONSTRAINT payments_invoice FOREIGN KEY (invoice_id) REFERENCES invoices (id);

-- Where a customer pays: two such accounts in one source forbid a merge.
CREATE TABLE billing_accounts (
    id                   uuid PRIMARY KEY,
    customer_id          uuid NOT NULL,
    origin_customer_id   uuid NOT NULL,
    source               text NOT NULL,
    provider_customer_id text,
    subscription         text NOT NULL, -- none, active, canceled
    version              bigint NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CONSTRAINT billing_accounts_origin UNIQUE (origin_customer_id, source)
);
CREATE INDEX billing_accounts_customer ON billing_accounts (customer_id, source);
