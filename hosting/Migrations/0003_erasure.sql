-- Records that were erased, by public id: what comes late about one of them is not kept anywhere.
CREATE TABLE erased_record (
    id        text PRIMARY KEY, -- such as cus_…
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- The ids of records that a stored answer names; an erasure finds it by them.
CREATE FUNCTION public_ids(document text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT m[1]), '{}') FROM regexp_matches(document, '\m([a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25})\M', 'g') AS m
$$;
ALTER TABLE idempotency ADD COLUMN names text[] NOT NULL DEFAULT '{}';
UPDATE idempotency SET names = public_ids(operation || ' ' || convert_from(body, 'UTF8'));
CREATE INDEX idempotency_names ON idempotency USING gin (names);

-- A document without the objects of the erased in its lists.
CREATE FUNCTION without_erased(document jsonb, erased text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(key, CASE WHEN jsonb_typeof(value) = 'array' THEN
        (SELECT coalesce(jsonb_agg(e ORDER BY n) FILTER (WHERE e->>'id' IS NULL OR e->>'id' <> ALL (erased)), '[]')
         FROM jsonb_array_elements(value) WITH ORDINALITY AS l (e, n)) ELSE value END)
    FROM jsonb_each(document)
$$;
