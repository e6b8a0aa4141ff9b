-- Whose values a customer had, and since when: of every merge that it was in, all members, and those whom these had absorbed at
-- the same time, in merges of their own. Until the first undo of these merges: when that was asked for, and when every
-- service had done it; null when none of them was undone. The customer is among them. (STRICT and OFFSET 0 keep the planner
-- from taking it apart: it would read all merges where the indexes have the few.)
CREATE FUNCTION merged_with(customer uuid) RETURNS TABLE (other uuid, since timestamptz, undo_asked_at timestamptz, undone_at timestamptz)
LANGUAGE sql STABLE STRICT ROWS 10 AS $$
    WITH RECURSIVE held AS (
        SELECT m.survivor_id, m.absorbed_ids, m.merged_at, m.undo_asked_at, m.undone_at
        FROM merges m WHERE m.survivor_id = customer OR m.absorbed_ids @> ARRAY[customer]
        UNION ALL
        SELECT m.survivor_id, m.absorbed_ids, greatest(h.merged_at, m.merged_at), least(h.undo_asked_at, m.undo_asked_at), least(h.undone_at, m.undone_at)
        FROM held h CROSS JOIN LATERAL (
            SELECT b.survivor_id, b.absorbed_ids, b.merged_at, b.undo_asked_at, b.undone_at
            FROM merges b WHERE b.survivor_id = ANY (h.absorbed_ids) OFFSET 0) AS m
        WHERE greatest(h.merged_at, m.merged_at) < coalesce(least(h.undo_asked_at, m.undo_asked_at), 'infinity'))
    SELECT DISTINCT i.id, h.merged_at, h.undo_asked_at, h.undone_at
    FROM held h CROSS JOIN LATERAL unnest(h.absorbed_ids || h.survivor_id) AS i (id)
$$;

-- The other way round: who had the customer's values, and when. Of every merge that it was in, all members, and those who had
-- absorbed the survivor at the same time.
CREATE FUNCTION merged_into(customer uuid) RETURNS TABLE (other uuid, since timestamptz, undo_asked_at timestamptz, undone_at timestamptz)
LANGUAGE sql STABLE STRICT ROWS 10 AS $$
    WITH RECURSIVE own AS (
        SELECT m.survivor_id, m.absorbed_ids, m.merged_at, m.undo_asked_at, m.undone_at
        FROM merges m WHERE m.survivor_id = customer OR m.absorbed_ids @> ARRAY[customer]),
    above AS (
        SELECT o.survivor_id, o.merged_at, o.undo_asked_at, o.undone_at FROM own o
        UNION ALL
        SELECT m.survivor_id, greatest(a.merged_at, m.merged_at), least(a.undo_asked_at, m.undo_asked_at), least(a.undone_at, m.undone_at)
        FROM above a CROSS JOIN LATERAL (
            SELECT b.survivor_id, b.merged_at, b.undo_asked_at, b.undone_at
            FROM merges b WHERE b.absorbed_ids @> ARRAY[a.survivor_id] OFFSET 0) AS m
        WHERE greatest(a.merged_at, m.merged_at) < coalesce(least(a.undo_asked_at, m.undo_asked_at), 'infinity'))
    SELECT i.id, o.merged_at, o.undo_asked_at, o.undone_at
    FROM own o CROSS JOIN LATERAL unnest(o.absorbed_ids || o.survivor_id) AS i (id)
    UNION
    SELECT a.survivor_id, a.merged_at, a.undo_asked_at, a.undone_at FROM above a
$$;
