-- Customers that are new or changed, in what is compared, since a scan last looked at them. Written by the triggers alone.
CREATE TABLE duplicate_changes (
    customer_id uuid NOT NULL,
    version     bigint NOT NULL, -- a change during a scan is another row, which the scan leaves
    PRIMARY KEY (customer_id, version)
);

CREATE FUNCTION note_duplicate_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO duplicate_changes (customer_id, version)
        SELECT n.id, n.version FROM old_rows o JOIN new_rows n USING (id)
        WHERE (o.state, o.kind, o.given_name, o.family_name, o.name, o.birth_date, o.emails, o.phones, o.addresses, o.match_keys)
            IS DISTINCT FROM (n.state, n.kind, n.given_name, n.family_name, n.name, n.birth_date, n.emails, n.phones, n.addresses, n.match_keys)
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO duplicate_changes (customer_id, version) SELECT id, version FROM new_rows;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER customers_note_new AFTER INSERT ON customers
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_duplicate_changes();
CREATE TRIGGER customers_note_changed AFTER UPDATE ON customers
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_duplicate_changes();

CREATE TABLE duplicate_scans (
    id          uuid PRIMARY KEY,
    mode        text NOT NULL, -- full, changed
    status      text NOT NULL, -- queued, running, completed, failed
    actor       text NOT NULL,
    attempts    integer NOT NULL,
    records     bigint NOT NULL,
    compared    bigint NOT NULL,
    found       bigint NOT NULL,
    merged      bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz
);
CREATE INDEX duplicate_scans_open ON duplicate_scans (id) WHERE status IN ('queued', 'running');

-- Pairs that may be one customer: the review queue, and what was decided.
CREATE TABLE duplicates (
    id          uuid PRIMARY KEY,
    low_id      uuid NOT NULL REFERENCES customers (id),
    high_id     uuid NOT NULL REFERENCES customers (id),
    status      text NOT NULL, -- open, merged, rejected
    weight      double precision NOT NULL, -- bits
    probability double precision NOT NULL,
    fields      jsonb NOT NULL,   -- levels and weights, no values
    unasked     boolean NOT NULL, -- nothing differs: may be merged without being asked about
    scan_id     uuid NOT NULL,    -- that found it last
    found_at    timestamptz NOT NULL,
    decided_at  timestamptz,
    decided_by  text,
    reason      text,
    merge_id    uuid REFERENCES merges (id),
    CONSTRAINT duplicates_pair UNIQUE (low_id, high_id),
    CHECK (low_id < high_id)
);
CREATE INDEX duplicates_high ON duplicates (high_id);
CREATE INDEX duplicates_queue ON duplicates (status, weight DESC, id DESC);

-- What the last full scan estimated, for persons and for organizations.
CREATE TABLE duplicate_models (
    kind    text PRIMARY KEY,
    model   jsonb NOT NULL,
    made_at timestamptz NOT NULL
);

-- E-mail addresses and phone numbers that never count as agreement.
CREATE TABLE blocked_identifiers (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL, -- as in customer_identifiers
    value      text NOT NULL,
    reason     text NOT NULL,
    actor      text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT blocked_identifiers_value UNIQUE (kind, value)
);
