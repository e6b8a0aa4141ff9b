-- A tag that comes into being by its first use has its place in the list by the time of that.
CREATE OR REPLACE FUNCTION use_tags(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unknown text[];
BEGIN
    -- Keeps its name until this is committed.
    PERFORM FROM tags WHERE name = ANY (names) ORDER BY name FOR KEY SHARE;
    unknown := ARRAY(SELECT DISTINCT n FROM unnest(names) AS n WHERE NOT EXISTS (SELECT FROM tags WHERE name = n) ORDER BY n);
    IF cardinality(unknown) > 0 THEN
        -- One that is about to go under another name comes into being anew only afterwards: who ends the change waits for this.
        PERFORM FROM tag_changes WHERE "from" = ANY (unknown) FOR KEY SHARE;
        INSERT INTO tags (id, version, name, created_at, updated_at)
        SELECT uuid_at(clock_timestamp()), 0, n, now(), now() FROM unnest(unknown) AS n
        WHERE NOT EXISTS (SELECT FROM tag_changes WHERE "from" = n)
        ON CONFLICT (name) DO NOTHING;
    END IF;
END
$$;
