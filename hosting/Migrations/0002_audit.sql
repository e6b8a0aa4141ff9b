-- Who did what to which record. Rows are only ever added; a chainer gives each its place (seq) and the hash that
-- covers it and everything before it.
CREATE TABLE audit_entry (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL,
    actor       text NOT NULL, -- key_…, usr_… or svc:…
    trace_id    text,
    action      text NOT NULL, -- created, updated, …
    record_type text NOT NULL,
    record_id   uuid NOT NULL,
    customer_id uuid,
    digest      bytea NOT NULL, -- of the salted values, which lie in audit_value
    seq         bigint UNIQUE,
    hash        bytea
);
CREATE INDEX audit_entry_record ON audit_entry (record_type, record_id, id);
CREATE INDEX audit_entry_customer ON audit_entry (customer_id, id);
CREATE INDEX audit_entry_unchained ON audit_entry (id) WHERE seq IS NULL;

-- What changed, field by field. An erasure deletes the row with its salt: the digest that stays tells nothing,
-- and the chain still verifies.
CREATE TABLE audit_value (
    entry_id uuid PRIMARY KEY REFERENCES audit_entry (id),
    salt     bytea NOT NULL,
    changes  text NOT NULL -- JSON, {"field": {"old": …, "new": …}}, byte by byte as it was digested
);

CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_entry' THEN
        IF OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.hash IS NOT NULL
            AND (NEW.id, NEW.at, NEW.actor, NEW.trace_id, NEW.action, NEW.record_type, NEW.record_id, NEW.customer_id, NEW.digest)
                IS NOT DISTINCT FROM (OLD.id, OLD.at, OLD.actor, OLD.trace_id, OLD.action, OLD.record_type, OLD.record_id, OLD.customer_id, OLD.digest) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entry_only_grows BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_only_grows();
CREATE TRIGGER audit_value_only_grows BEFORE UPDATE ON audit_value FOR EACH ROW EXECUTE FUNCTION audit_only_grows();
