-- Erasures name mailboxes by their digests only. Of every text in the document that is an address, or a name with one as in a mail:
-- Ada <ada@example.com>.
CREATE FUNCTION mailbox_digests(names jsonb) RETURNS bytea[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(sha256(convert_to(lower(btrim(coalesce(substring(btrim(t.name, E' \t\u00a0') FROM '^[^<>]*<([^<>]+)>$'), t.name), E' \t\u00a0')), 'UTF8'))), '{}')
    FROM (SELECT j.value #>> '{}' AS name FROM jsonb_path_query(names, 'strict $.** ? (@.type() == "string")') AS j (value)) AS t
    WHERE strpos(t.name, '@') > 0
$$;
-- Without a pending list, as who writes would have to sort it in one day: few rows bring addresses.
CREATE INDEX interactions_mailboxes ON interactions USING gin (mailbox_digests(participants)) WITH (fastupdate = off) WHERE participants::text LIKE '%@%';
-- An index on an expression has no statistics before they are asked for.
ANALYZE interactions;
