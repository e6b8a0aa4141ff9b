-- The steps of each customer's lifecycle; rows are only ever added, and void when what caused them is undone.
CREATE TABLE lifecycle_changes (
    id                 uuid PRIMARY KEY,
    customer_id        uuid NOT NULL REFERENCES customers (id),
    origin_customer_id uuid NOT NULL REFERENCES customers (id),
    from_state         text,
    to_state           text NOT NULL,
    cause              text NOT NULL, -- created, edited, merge; by rule order, no_order
    actor              text NOT NULL,
    at                 timestamptz NOT NULL,
    order_id           uuid,
    merge_id           uuid,
    voided_at          timestamptz
);
CREATE INDEX lifecycle_changes_customer ON lifecycle_changes (customer_id, id);
CREATE INDEX lifecycle_changes_origin ON lifecycle_changes (origin_customer_id);
CREATE INDEX lifecycle_changes_order ON lifecycle_changes (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX lifecycle_changes_merge ON lifecycle_changes (merge_id) WHERE merge_id IS NOT NULL;

-- Customers from before begin with the state they are in; the ids are in the order of time, as UUIDv7.
INSERT INTO lifecycle_changes (id, customer_id, origin_customer_id, to_state, cause, actor, at)
SELECT (lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0') || '7' || substr(md5(id::text), 1, 3) || '8' || substr(md5(id::text), 4, 15))::uuid,
       customer_root(id), id, lifecycle, 'created', 'svc:contacts', created_at
FROM customers;

-- BillingSync's orders, as much of them as the rules need.
CREATE TABLE placed_orders (
    id                 uuid PRIMARY KEY,
    version            bigint NOT NULL,
    customer_id        uuid NOT NULL REFERENCES customers (id),
    origin_customer_id uuid NOT NULL REFERENCES customers (id),
    placed_at          timestamptz NOT NULL,
    counts             boolean NOT NULL -- neither cancelled nor returned
);
CREATE INDEX placed_orders_customer ON placed_orders (customer_id, placed_at);

-- The step that holds for a customer, over all whom the tops have absorbed: the latest; that somebody was created as a
-- prospect says least, and of those who were, the customer's own word counts.
CREATE FUNCTION held_lifecycle(own uuid, tops uuid[]) RETURNS SETOF lifecycle_changes LANGUAGE sql STABLE AS $$
    SELECT * FROM lifecycle_changes l
    WHERE l.origin_customer_id IN (SELECT customers_below(tops)) AND l.voided_at IS NULL
    ORDER BY l.cause = 'created' AND l.to_state = 'prospect',
             l.cause = 'created' AND l.to_state = 'prospect' AND l.origin_customer_id <> own,
             l.at DESC, l.id DESC
    LIMIT 1
$$;
