-- Words that customers are marked with, sorted.
ALTER TABLE customers ADD COLUMN tags text[] NOT NULL DEFAULT '{}';
CREATE INDEX customers_tags ON customers USING gin (tags) WHERE cardinality(tags) > 0;
CREATE INDEX customers_with_layers ON customers (id) WHERE layers IS NOT NULL;

-- What is said of them. A row comes with the first use.
CREATE TABLE tags (
    id          uuid PRIMARY KEY,
    version     bigint NOT NULL, -- 0: nobody has described it
    name        text NOT NULL,
    colour      text,
    description text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT tags_name_key UNIQUE (name)
);

-- Tags that all customers are to have under another name, or not any more; carried out in the order of ids.
CREATE TABLE tag_changes (
    id        uuid PRIMARY KEY,
    "from"    text NOT NULL,
    "to"      text, -- null: none
    actor     text NOT NULL,
    asked_at  timestamptz NOT NULL
);

CREATE FUNCTION use_tags(names text[]) RETURNS void LANGUAGE plpgsql AS $$
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
        SELECT gen_random_uuid(), 0, n, now(), now() FROM unnest(unknown) AS n
        WHERE NOT EXISTS (SELECT FROM tag_changes WHERE "from" = n)
        ON CONFLICT (name) DO NOTHING;
    END IF;
END
$$;

-- Whichever way a customer came or changed.
CREATE FUNCTION use_tags_of_customers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM use_tags(array_agg(t)) FROM old_rows o JOIN new_rows n USING (id), unnest(n.tags) AS t
        WHERE o.tags <> n.tags AND t <> ALL (o.tags) HAVING count(*) > 0;
    ELSE
        PERFORM use_tags(array_agg(t)) FROM new_rows n, unnest(n.tags) AS t HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER customers_tags_of_new AFTER INSERT ON customers
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION use_tags_of_customers();
CREATE TRIGGER customers_tags_of_changed AFTER UPDATE ON customers
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION use_tags_of_customers();
