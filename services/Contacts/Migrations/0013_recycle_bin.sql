-- Who put a customer (state deleted) into the recycle bin, and until when it can be brought back.
CREATE TABLE recycle_bin (
    customer_id uuid PRIMARY KEY REFERENCES customers (id),
    reason      text,
    actor       text NOT NULL,
    deleted_at  timestamptz NOT NULL,
    keep_until  timestamptz NOT NULL -- then it is erased, unless a legal hold forbids it
);
CREATE INDEX recycle_bin_deleted_at ON recycle_bin (deleted_at, customer_id);
CREATE INDEX recycle_bin_keep_until ON recycle_bin (keep_until);

-- As before, and without those who are not there: what belongs to them is at the top until they come back. That nothing
-- may lead back to itself (organizations_above) counts them still.
CREATE OR REPLACE FUNCTION organization_parents(on_day date) RETURNS TABLE (child uuid, parent uuid, type text) LANGUAGE sql STABLE AS $$
    SELECT r.from_id, r.to_id, r.type FROM relationships r
    JOIN customers c ON c.id = r.from_id AND c.state = 'active'
    JOIN customers p ON p.id = r.to_id AND p.state = 'active'
    WHERE r.type IN ('subsidiary', 'branch', 'location') AND r.from_id <> r.to_id
      AND (r.starts_on IS NULL OR r.starts_on <= on_day) AND (r.ends_on IS NULL OR r.ends_on >= on_day)
$$;
