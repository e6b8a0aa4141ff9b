-- An organisation and all that it belongs to at some time between the two days, as far as each link holds on a day on which those
-- before it do; without a last day, for ever. Nothing may lead back. The function of the same name with one day is the release
-- before's.
CREATE FUNCTION organizations_above(organization uuid, first_day date, last_day date) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE above(id, since, until) AS (
        SELECT organization, first_day, last_day
        UNION
        SELECT r.to_id, greatest(a.since, r.starts_on), least(a.until, r.ends_on)
        FROM above a JOIN relationships r ON r.from_id = a.id
        WHERE r.type IN ('subsidiary', 'branch', 'location') AND r.from_id <> r.to_id
          AND (r.ends_on IS NULL OR r.ends_on >= a.since) AND (r.starts_on IS NULL OR a.until IS NULL OR r.starts_on <= a.until))
    SELECT id FROM above
$$;

-- As before; of two parents that hold on the day, where neither or both are its own, the one that says since when.
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
            AND (o.origin_from_id <> o.from_id, o.origin_to_id <> o.to_id, o.starts_on IS NULL, o.id)
                < (r.origin_from_id <> r.from_id, r.origin_to_id <> r.to_id, r.starts_on IS NULL, r.id))
$$;
