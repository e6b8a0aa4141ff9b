-- What one customer (from) is to another (to). Both ends follow their customers through merges, as other rows do; a merge
-- of both ends leaves a row that leads from a customer to itself until its undo.
CREATE TABLE relationships (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    type           text NOT NULL,
    from_id        uuid NOT NULL REFERENCES customers (id),
    origin_from_id uuid NOT NULL REFERENCES customers (id),
    to_id          uuid NOT NULL REFERENCES customers (id),
    origin_to_id   uuid NOT NULL REFERENCES customers (id),
    role           text,
    purchase       text,
    starts_on      date,
    ends_on        date, -- the last day
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX relationships_from ON relationships (from_id, id);
CREATE INDEX relationships_to ON relationships (to_id, id);
CREATE INDEX relationships_type ON relationships (type, id);
CREATE INDEX relationships_purchase ON relationships (purchase, id) WHERE purchase IS NOT NULL;

-- Who belongs to whom on a day.
CREATE FUNCTION organization_parents(on_day date) RETURNS TABLE (child uuid, parent uuid, type text) LANGUAGE sql STABLE AS $$
    SELECT from_id, to_id, type FROM relationships
    WHERE type IN ('subsidiary', 'branch', 'location') AND from_id <> to_id
      AND (starts_on IS NULL OR starts_on <= on_day) AND (ends_on IS NULL OR ends_on >= on_day)
$$;

-- An organisation and all that it belongs to, those to come as well: nothing may lead back.
CREATE FUNCTION organizations_above(organization uuid, on_day date) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE above(id) AS (
        SELECT organization
        UNION
        SELECT r.to_id FROM above a JOIN relationships r ON r.from_id = a.id
        WHERE r.type IN ('subsidiary', 'branch', 'location') AND (r.ends_on IS NULL OR r.ends_on >= on_day))
    SELECT id FROM above
$$;

-- The whole tree that an organisation is part of, from the top. A merge can close a circle: it is cut where it comes
-- back, and one without a top begins at the organisation itself.
CREATE FUNCTION organization_tree(organization uuid, on_day date) RETURNS TABLE (id uuid, parent_id uuid, type text, level integer) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE above(node) AS (
        SELECT organization
        UNION
        SELECT p.parent FROM above a JOIN organization_parents(on_day) p ON p.child = a.node),
    tops(node) AS (
        SELECT a.node FROM above a WHERE NOT EXISTS (SELECT FROM organization_parents(on_day) p WHERE p.child = a.node)),
    tree(node, parent, type, level) AS (
        SELECT node, NULL::uuid, NULL::text, 0 FROM (SELECT node FROM tops UNION SELECT organization WHERE NOT EXISTS (SELECT FROM tops)) AS first
        UNION ALL
        SELECT p.child, t.node, p.type, t.level + 1 FROM tree t JOIN organization_parents(on_day) p ON p.parent = t.node)
    CYCLE node SET is_cycle USING way
    SELECT node, parent, type, level FROM tree WHERE NOT is_cycle
$$;
