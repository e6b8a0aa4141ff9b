-- Of an assignment that ended while its customer was merged into another: when it would have ended, infinity for never. The
-- undo gives it back.
ALTER TABLE account_managers ADD COLUMN kept_ends_at timestamptz;

-- As before, and of an organisation that a merge gave a second parent only its own one, else the one recorded first.
CREATE OR REPLACE FUNCTION organization_parents(on_day date) RETURNS TABLE (child uuid, parent uuid, type text) LANGUAGE sql STABLE AS $$
    SELECT r.from_id, r.to_id, r.type FROM relationships r
    JOIN customers c ON c.id = r.from_id AND c.state = 'active'
    JOIN customers p ON p.id = r.to_id AND p.state = 'active'
    WHERE r.type IN ('subsidiary', 'branch', 'location') AND r.from_id <> r.to_id
      AND (r.starts_on IS NULL OR r.starts_on <= on_day) AND (r.ends_on IS NULL OR r.ends_on >= on_day)
      AND NOT EXISTS (
          SELECT FROM relationships o JOIN customers q ON q.id = o.to_id AND q.state = 'active'
          WHERE o.from_id = r.from_id AND o.type IN ('subsidiary', 'branch', 'location') AND o.from_id <> o.to_id
            AND (o.starts_on IS NULL OR o.starts_on <= on_day) AND (o.ends_on IS NULL OR o.ends_on >= on_day)
            AND (o.origin_from_id <> o.from_id, o.origin_to_id <> o.to_id, o.id) < (r.origin_from_id <> r.from_id, r.origin_to_id <> r.to_id, r.id))
$$;

-- Of an undo: fields that could not be given back, since somebody else has the value by then.
ALTER TABLE merges ADD COLUMN not_given_back jsonb;
