-- What a dry run would have made so far, for its later rows to find; gone when it is finished.
CREATE TABLE import_drafts (
    import_id uuid NOT NULL,
    draft_id  uuid NOT NULL, -- the customer whom it would change, or a number for one that is not there
    customer  jsonb NOT NULL, -- the writable fields as they would be
    PRIMARY KEY (import_id, draft_id)
);
CREATE TABLE import_draft_keys (
    import_id uuid NOT NULL,
    kind      text NOT NULL, -- external_id, email, phone
    system    text NOT NULL, -- of an external id, else empty
    value     text NOT NULL,
    draft_id  uuid NOT NULL,
    PRIMARY KEY (import_id, kind, system, value, draft_id),
    FOREIGN KEY (import_id, draft_id) REFERENCES import_drafts (import_id, draft_id) ON DELETE CASCADE
);
CREATE INDEX import_draft_keys_draft ON import_draft_keys (import_id, draft_id);

-- A check a row that the import is there, which it is: the transaction that writes results has a lock on it.
ALTER TABLE import_results DROP CONSTRAINT import_results_import_id_fkey;

-- In the order of the index: of the keys of many customers, each page of it is read and written once.
CREATE OR REPLACE FUNCTION keep_duplicate_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM duplicate_keys d
        USING (SELECT o.id, unnest(o.match_keys) AS key, n.match_keys AS kept, n.state
               FROM old_rows o JOIN new_rows n USING (id)
               WHERE (o.match_keys, o.state) IS DISTINCT FROM (n.match_keys, n.state)) AS before
        WHERE d.key = before.key AND d.customer_id = before.id
          AND (before.state <> 'active' OR before.kept IS NULL OR before.key <> ALL (before.kept));
        INSERT INTO duplicate_keys (key, customer_id)
        SELECT unnest(n.match_keys) AS key, n.id FROM old_rows o JOIN new_rows n USING (id)
        WHERE (o.match_keys, o.state) IS DISTINCT FROM (n.match_keys, n.state) AND n.state = 'active'
        ORDER BY 1, 2
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO duplicate_keys (key, customer_id)
        SELECT unnest(n.match_keys) AS key, n.id FROM new_rows n WHERE n.state = 'active' ORDER BY 1, 2;
    END IF;
    RETURN NULL;
END
$$;
