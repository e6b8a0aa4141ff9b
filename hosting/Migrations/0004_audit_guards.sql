-- How far the chain has come, in the transaction that links: entries that are cut off at its end are missed.
CREATE TABLE audit_head (
    id   boolean PRIMARY KEY DEFAULT true CHECK (id), -- one row
    seq  bigint NOT NULL,
    hash bytea NOT NULL
);
INSERT INTO audit_head (seq, hash)
SELECT seq, hash FROM (
    SELECT 0::bigint AS seq, decode(repeat('00', 32), 'hex') AS hash
    UNION ALL (SELECT seq, hash FROM audit_entry WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1)) AS h
ORDER BY seq DESC LIMIT 1;

CREATE FUNCTION audit_head_advances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.seq > OLD.seq THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_head_advances BEFORE UPDATE OR DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_head_advances();

-- Values are missed too, unless an entry of the chain says that they were erased: its own values name theirs by id.
CREATE FUNCTION record_audit_erasure(entries uuid[], eraser text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- UUIDv7, as the ids of all entries.
    new_id      uuid := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid;
    new_salt    bytea := uuid_send(gen_random_uuid());
    new_changes text := jsonb_build_object('entry_ids', jsonb_build_object('old', NULL, 'new', to_jsonb(entries)))::text;
BEGIN
    INSERT INTO audit_entry (id, at, actor, action, record_type, record_id, digest)
    VALUES (new_id, clock_timestamp(), eraser, 'erased', 'audit_value', new_id, sha256(new_salt || convert_to(new_changes, 'UTF8')));
    INSERT INTO audit_value (entry_id, salt, changes) VALUES (new_id, new_salt, new_changes);
END $$;

-- Who erases says so in its transaction (SET LOCAL crm.erasing_by = actor). The release before does not: it is known by the
-- customers whom it enters as erased in the same transaction.
CREATE FUNCTION audit_value_erased() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    eraser text := nullif(current_setting('crm.erasing_by', true), '');
BEGIN
    IF eraser IS NULL AND EXISTS (SELECT FROM erased_record WHERE erased_at = now()) THEN
        eraser := 'svc:erasure';
    END IF;
    IF eraser IS NOT NULL THEN
        PERFORM record_audit_erasure(array_agg(entry_id), eraser) FROM gone HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_value_erased AFTER DELETE ON audit_value REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION audit_value_erased();
