CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE customers (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    kind           text NOT NULL,
    given_name     text,
    family_name    text,
    name           text,
    display_name   text NOT NULL,
    search_name    text NOT NULL, -- folded: no case, no accents
    emails         jsonb NOT NULL,
    phones         jsonb NOT NULL,
    addresses      jsonb NOT NULL,
    birth_date     date,
    locale         text,
    time_zone      text,
    lifecycle      text NOT NULL,
    source_type    text,
    source_referrer_id uuid,
    source_detail  text,
    department     text,
    tier           text NOT NULL,
    attributes     jsonb NOT NULL,
    state          text NOT NULL,
    survivor_id    uuid REFERENCES customers (id),
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX customers_search_name ON customers USING gin (search_name gin_trgm_ops);
CREATE INDEX customers_lifecycle ON customers (lifecycle, id);
CREATE INDEX customers_department ON customers (department, id);
CREATE INDEX customers_updated_at ON customers (updated_at, id);

-- Normalised e-mail addresses and phone numbers, for search and for the check at entry. Not unique:
-- families and offices share them.
CREATE TABLE customer_identifiers (
    kind        text NOT NULL, -- 'email' or 'phone'
    value       text NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id),
    PRIMARY KEY (kind, value, customer_id)
);
CREATE INDEX customer_identifiers_customer ON customer_identifiers (customer_id);

CREATE TABLE external_ids (
    system      text NOT NULL,
    external_id text NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id),
    CONSTRAINT external_ids_pkey PRIMARY KEY (system, external_id)
);
CREATE INDEX external_ids_customer ON external_ids (customer_id);
CREATE INDEX external_ids_value ON external_ids (external_id);

-- Who created a customer although candidates were shown, and why.
CREATE TABLE duplicate_overrides (
    customer_id  uuid PRIMARY KEY REFERENCES customers (id),
    candidate_ids uuid[] NOT NULL,
    reason       text NOT NULL,
    actor        text NOT NULL,
    at           timestamptz NOT NULL
);

-- What was said about consent, and when; rows are only ever added.
CREATE TABLE consents (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id),
    channel     text NOT NULL,
    purpose     text NOT NULL,
    state       text NOT NULL,
    legal_basis text NOT NULL,
    source      text NOT NULL,
    wording     text,
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX consents_customer ON consents (customer_id, id);

-- The current state, a projection of the table above.
CREATE TABLE consent_states (
    id             uuid PRIMARY KEY,
    customer_id    uuid NOT NULL REFERENCES customers (id),
    channel        text NOT NULL,
    purpose        text NOT NULL,
    state          text NOT NULL,
    at             timestamptz NOT NULL,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    CONSTRAINT consent_states_key UNIQUE (customer_id, channel, purpose)
);
