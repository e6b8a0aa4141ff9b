-- Merges are a forest: a merged customer's survivor_id leads to the customer who absorbed it. Its row keeps its own
-- fields; the survivor's are folded from its own, those of its merges and the edits since (layers).
ALTER TABLE customers
    ADD COLUMN layers           jsonb,                        -- of one who has absorbed others
    ADD COLUMN own_external_ids jsonb,                        -- of a merged one; the rows of external_ids are the survivor's
    ADD COLUMN merged_from      uuid[] NOT NULL DEFAULT '{}'; -- all who lead to this one
CREATE INDEX customers_survivor ON customers (survivor_id) WHERE survivor_id IS NOT NULL;

-- The customer whom an id stands for now: itself, or where its merges lead. (The same functions are in the copies.)
CREATE FUNCTION customer_root(named uuid) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    here uuid := named;
    next uuid;
BEGIN
    FOR step IN 1..1000 LOOP
        SELECT survivor_id INTO next FROM customers WHERE id = here;
        IF next IS NULL THEN
            RETURN here;
        END IF;
        here := next;
    END LOOP;
    RETURN named;
END
$$;

-- The customers and all whom they have absorbed.
CREATE FUNCTION customers_below(tops uuid[]) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE below(id) AS (
        SELECT unnest(tops)
        UNION
        SELECT c.id FROM customers c JOIN below b ON c.survivor_id = b.id)
    SELECT id FROM below
$$;

-- The root of a customer, which stays it until the transaction ends: a merge that would change it waits.
CREATE FUNCTION hold_customer(named uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    here uuid := named;
    next uuid;
BEGIN
    FOR step IN 1..1000 LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('customer ' || here, 0));
        SELECT survivor_id INTO next FROM customers WHERE id = here;
        IF next IS NULL THEN
            RETURN here;
        END IF;
        here := next;
    END LOOP;
    RETURN named;
END
$$;

-- A statement belongs to the customer whom its person is now, and never forgets under whom it was recorded.
ALTER TABLE consents ADD COLUMN origin_customer_id uuid REFERENCES customers (id);
UPDATE consents SET origin_customer_id = customer_id;
ALTER TABLE consents ALTER COLUMN origin_customer_id SET NOT NULL;

-- Null: nothing is said any more, since what was said came with a merge that was undone.
ALTER TABLE consent_states ALTER COLUMN state DROP NOT NULL;

CREATE TABLE merge_previews (
    token_hash  bytea PRIMARY KEY, -- SHA-256
    survivor_id uuid NOT NULL,
    members     jsonb NOT NULL,    -- every record with the version that was previewed
    choices     jsonb NOT NULL,
    manifest    jsonb NOT NULL,
    expires_at  timestamptz NOT NULL,
    merge_id    uuid               -- once it was used
);
CREATE INDEX merge_previews_expires_at ON merge_previews (expires_at);

CREATE TABLE merges (
    id             uuid PRIMARY KEY,
    event_sequence bigint NOT NULL,
    survivor_id    uuid NOT NULL REFERENCES customers (id),
    absorbed_ids   uuid[] NOT NULL,
    status         text NOT NULL, -- running, completed, undoing, undone
    reason         text NOT NULL,
    actor          text NOT NULL,
    manifest       jsonb NOT NULL,
    merged_at      timestamptz NOT NULL,
    completed_at   timestamptz,
    undo_reason    text,
    undo_actor     text,
    undo_asked_at  timestamptz,
    undone_at      timestamptz,
    kept_edits     jsonb
);
CREATE INDEX merges_status ON merges (status, id);
CREATE INDEX merges_survivor ON merges (survivor_id, id);
CREATE INDEX merges_absorbed ON merges USING gin (absorbed_ids);

-- What each service did; a merge is completed, or undone, when all five are there.
CREATE TABLE merge_receipts (
    merge_id      uuid NOT NULL REFERENCES merges (id),
    phase         text NOT NULL, -- merge or undo
    service       text NOT NULL,
    counts        jsonb NOT NULL,
    stayed_counts jsonb NOT NULL,
    stayed        jsonb NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (merge_id, phase, service)
);
