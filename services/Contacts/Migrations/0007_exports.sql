-- Archives of what the services know of a person, made part by part; the rows are deleted when they expire.
CREATE TABLE exports (
    id           uuid PRIMARY KEY,
    customer_id  uuid NOT NULL REFERENCES customers (id),
    customer_ids uuid[] NOT NULL, -- with all who had been merged into it
    status       text NOT NULL,   -- running, completed
    actor        text NOT NULL,
    asked_at     timestamptz NOT NULL,
    completed_at timestamptz,
    expires_at   timestamptz NOT NULL,
    next_at      timestamptz NOT NULL
);
CREATE INDEX exports_open ON exports (next_at) WHERE status = 'running';
CREATE INDEX exports_expires_at ON exports (expires_at);
CREATE INDEX exports_customers ON exports USING gin (customer_ids);

-- One a service, once it has answered.
CREATE TABLE export_parts (
    export_id uuid NOT NULL REFERENCES exports (id) ON DELETE CASCADE,
    service   text NOT NULL,
    counts    jsonb NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (export_id, service)
);

CREATE TABLE export_rows (
    export_id uuid NOT NULL REFERENCES exports (id) ON DELETE CASCADE,
    service   text NOT NULL,
    list      text NOT NULL,
    n         bigint NOT NULL,
    body      jsonb NOT NULL,
    PRIMARY KEY (export_id, service, list, n)
);
