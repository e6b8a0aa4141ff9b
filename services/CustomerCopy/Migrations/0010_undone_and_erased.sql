-- As before, but of one who is not erased himself and whose survivor is, the news that the two were parted is still to come:
-- an erasure takes everybody below. The rows are of the last one on the way who is not erased.
CREATE OR REPLACE FUNCTION hold_customer(named uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    here uuid := named;
    before uuid;
    next uuid;
    word text;
BEGIN
    FOR step IN 1..1000 LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('customer ' || here, 0));
        SELECT survivor_id, state INTO next, word FROM customers WHERE id = here;
        IF word IN ('erased', 'removed') THEN
            RETURN before;
        ELSIF next IS NULL THEN
            RETURN here;
        END IF;
        before := here;
        here := next;
    END LOOP;
    RETURN named;
END
$$;
