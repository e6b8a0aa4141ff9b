-- Records that source systems own. A record without an external id was created through the API.
CREATE TABLE products (
    id                  uuid PRIMARY KEY,
    version             bigint NOT NULL,
    source              text,
    external_id         text,
    sku                 text NOT NULL,
    name                text NOT NULL,
    description         text,
    unit_price_minor    bigint,
    unit_price_currency text,
    active              boolean NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT products_external_id UNIQUE (source, external_id)
);

-- UNIQUE (customer_id, id) serves lists and sums of one customer, and lets a foreign key say "an order of
-- the same customer".
CREATE TABLE orders (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    source         text,
    external_id    text,
    customer_id    uuid NOT NULL,
    placed_at      timestamptz NOT NULL,
    lines          jsonb NOT NULL,
    total_minor    bigint NOT NULL CHECK (total_minor >= 0),
    currency       text NOT NULL,
    status         text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT orders_external_id UNIQUE (source, external_id),
    CONSTRAINT orders_of_customer UNIQUE (customer_id, id),
    CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
);
CREATE INDEX orders_status ON orders (status, id);

CREATE TABLE invoices (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    source         text,
    external_id    text,
    customer_id    uuid NOT NULL,
    order_id       uuid,
    number         text NOT NULL,
    issued_at      timestamptz NOT NULL,
    due_at         timestamptz,
    total_minor    bigint NOT NULL CHECK (total_minor >= 0),
    currency       text NOT NULL,
    status         text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT invoices_external_id UNIQUE (source, external_id),
    CONSTRAINT invoices_of_customer UNIQUE (customer_id, id),
    CONSTRAINT invoices_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
    -- Deferrable for a merge, which moves a customer's records in several statements.
    CONSTRAINT invoices_order FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id) DEFERRABLE
);
CREATE INDEX invoices_status ON invoices (status, id);
CREATE INDEX invoices_by_order ON invoices (order_id) WHERE order_id IS NOT NULL;

CREATE TABLE payments (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    source         text,
    external_id    text,
    customer_id    uuid NOT NULL,
    invoice_id     uuid,
    paid_at        timestamptz NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor >= 0),
    currency       text NOT NULL,
    method         text NOT NULL,
    status         text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT payments_external_id UNIQUE (source, external_id),
    CONSTRAINT payments_of_customer UNIQUE (customer_id, id),
    CONSTRAINT payments_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
    CONSTRAINT payments_invoice FOREIGN KEY (invoice_id, customer_id) REFERENCES invoices (id, customer_id) DEFERRABLE
);
CREATE INDEX payments_status ON payments (status, id);
CREATE INDEX payments_by_invoice ON payments (invoice_id) WHERE invoice_id IS NOT NULL;
