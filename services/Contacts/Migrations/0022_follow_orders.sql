-- Enters an order as BillingSync tells it, and answers whose lifecycle may have to move: its customer, and whose it was
-- before. Nobody when it is no news, or when its customer is no more.
CREATE FUNCTION follow_order(
    _id uuid, _version bigint, _origin uuid, _placed_at timestamptz, _counts boolean, _total_minor bigint, _currency text, _now timestamptz)
RETURNS TABLE (id uuid, lifecycle text, held text, held_cause text, held_at timestamptz, last_order_at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    owner uuid := hold_customer(_origin);
    previous uuid := (SELECT o.customer_id FROM placed_orders o WHERE o.id = _id);
BEGIN
    PERFORM FROM customers c WHERE c.id IN (previous, owner) ORDER BY c.id FOR UPDATE;
    -- Of one in the recycle bin too: it comes back as if it had never been there.
    IF NOT EXISTS (SELECT FROM customers c WHERE c.id = owner AND c.state IN ('active', 'deleted')) THEN
        RETURN;
    END IF;

    INSERT INTO placed_orders AS o (id, version, customer_id, origin_customer_id, placed_at, counts, total_minor, currency)
    VALUES (_id, _version, owner, _origin, _placed_at, _counts, _total_minor, _currency)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, customer_id = excluded.customer_id, origin_customer_id = excluded.origin_customer_id,
        placed_at = excluded.placed_at, counts = excluded.counts, total_minor = excluded.total_minor, currency = excluded.currency
    WHERE o.version < excluded.version OR (o.version = excluded.version AND o.currency IS NULL);
    IF NOT FOUND THEN
        RETURN;
    END IF;

    UPDATE lifecycle_changes l SET voided_at = _now WHERE l.order_id = _id AND l.voided_at IS NULL AND (l.origin_customer_id <> _origin OR NOT _counts);
    RETURN QUERY
        SELECT c.id, c.lifecycle, h.to_state, h.cause, h.at, (SELECT max(o.placed_at) FROM placed_orders o WHERE o.customer_id = c.id AND o.counts)
        FROM customers c LEFT JOIN LATERAL held_lifecycle(c.id, ARRAY[c.id]) AS h ON true
        WHERE c.id IN (previous, owner) AND c.state IN ('active', 'deleted');
END
$$;
