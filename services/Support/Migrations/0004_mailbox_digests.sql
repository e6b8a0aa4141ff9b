-- Erasures name mailboxes by their digests only. An author is a name, an address, or both as in a mail: Ada <ada@example.com>.
CREATE FUNCTION mailbox_digest(name text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT sha256(convert_to(lower(btrim(coalesce(substring(btrim(name, E' \t\u00a0') FROM '^[^<>]*<([^<>]+)>$'), name), E' \t\u00a0')), 'UTF8')) $$;
CREATE INDEX case_messages_author_mailbox ON case_messages (mailbox_digest(author)) WHERE strpos(author, '@') > 0;
-- An index on an expression has no statistics before they are asked for.
ANALYZE case_messages;
