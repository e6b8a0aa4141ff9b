-- Merges are a forest: a merged customer's survivor_id leads to the customer who absorbed it.
CREATE INDEX customers_survivor ON customers (survivor_id) WHERE survivor_id IS NOT NULL;

-- The customer whom an id stands for now: itself, or where its merges lead. An id that is not in the copy stands for
-- itself. Contacts never makes a circle; should messages ever show one, nobody in it or behind it is moved.
CREATE FUNCTION customer_root(named uuid) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    here uuid := named;
    next uuid;
BEGIN
    FOR step IN 1..1000 LOOP
        SELECT survivor_id INTO next FROM customers WHERE id = here;
        IF next IS NULL THEN
            RETURN here;
        END IF;
        here := next;
    END LOOP;
    RETURN named;
END
$$;

-- The customers and all whom they have absorbed.
CREATE FUNCTION customers_below(tops uuid[]) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE below(id) AS (
        SELECT unnest(tops)
        UNION
        SELECT c.id FROM customers c JOIN below b ON c.survivor_id = b.id)
    SELECT id FROM below
$$;

-- The root of a customer, which stays it until the transaction ends: a merge that would change it waits.
CREATE FUNCTION hold_customer(named uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    here uuid := named;
    next uuid;
BEGIN
    FOR step IN 1..1000 LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('customer ' || here, 0));
        SELECT survivor_id INTO next FROM customers WHERE id = here;
        IF next IS NULL THEN
            RETURN here;
        END IF;
        here := next;
    END LOOP;
    RETURN named;
END
$$;
