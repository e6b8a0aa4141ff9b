-- Blocking keys of customers (Domain/Matching/BlockingKeys.cs), for the check at entry and the scan.
-- Null: not made yet, of rows that are older than this; a worker makes them. Another BlockingKeys.Version sets null again.
ALTER TABLE customers ADD COLUMN match_keys bigint[];
CREATE INDEX customers_without_match_keys ON customers (id) WHERE match_keys IS NULL;

-- A row a key of every active customer; the triggers alone write it, whichever way a customer came or changed.
CREATE TABLE duplicate_keys (
    key         bigint NOT NULL,
    customer_id uuid NOT NULL,
    PRIMARY KEY (key, customer_id)
);

CREATE FUNCTION keep_duplicate_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM duplicate_keys d
        USING (SELECT o.id, unnest(o.match_keys) AS key, n.match_keys AS kept, n.state
               FROM old_rows o JOIN new_rows n USING (id)
               WHERE (o.match_keys, o.state) IS DISTINCT FROM (n.match_keys, n.state)) AS before
        WHERE d.key = before.key AND d.customer_id = before.id
          AND (before.state <> 'active' OR before.kept IS NULL OR before.key <> ALL (before.kept));
        INSERT INTO duplicate_keys (key, customer_id)
        SELECT unnest(n.match_keys), n.id FROM old_rows o JOIN new_rows n USING (id)
        WHERE (o.match_keys, o.state) IS DISTINCT FROM (n.match_keys, n.state) AND n.state = 'active'
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO duplicate_keys (key, customer_id)
        SELECT unnest(n.match_keys), n.id FROM new_rows n WHERE n.state = 'active';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER customers_keys_of_new AFTER INSERT ON customers
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION keep_duplicate_keys();
CREATE TRIGGER customers_keys_of_changed AFTER UPDATE ON customers
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION keep_duplicate_keys();
