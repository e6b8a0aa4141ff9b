-- Erasures of persons: a protocol with the other services, until every receipt is in. What is left of a customer is the
-- row in customers with its id, in the state erased.
CREATE TABLE erasures (
    id              uuid PRIMARY KEY,
    event_sequence  bigint NOT NULL,
    customer_id     uuid NOT NULL REFERENCES customers (id),
    customer_ids    uuid[] NOT NULL, -- with all who had been merged into it
    status          text NOT NULL,   -- running, completed
    reason          text NOT NULL,
    actor           text NOT NULL,
    asked_at        timestamptz NOT NULL,
    completed_at    timestamptz,
    backups_gone_by timestamptz NOT NULL
);
CREATE INDEX erasures_status ON erasures (status, id);
CREATE INDEX erasures_customers ON erasures USING gin (customer_ids);

-- What each service did, signed by it; an erasure is completed when all five are there.
CREATE TABLE erasure_receipts (
    erasure_id uuid NOT NULL REFERENCES erasures (id),
    service    text NOT NULL,
    erased     jsonb NOT NULL,
    kept       jsonb NOT NULL,
    statement  text NOT NULL, -- JWS
    at         timestamptz NOT NULL,
    PRIMARY KEY (erasure_id, service)
);

-- Why a customer may not be erased at present.
CREATE TABLE legal_holds (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id),
    reason      text NOT NULL,
    actor       text NOT NULL,
    set_at      timestamptz NOT NULL,
    lifted_at   timestamptz,
    lifted_by   text,
    lift_reason text
);
CREATE INDEX legal_holds_customer ON legal_holds (customer_id, id);

-- A merge that names an erased customer keeps its ids and counts, and cannot be undone.
ALTER TABLE merges ADD COLUMN erased_at timestamptz;
