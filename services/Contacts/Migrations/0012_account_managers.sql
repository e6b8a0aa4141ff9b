-- Who looks after a customer, from when until when.
CREATE TABLE account_managers (
    id                 uuid PRIMARY KEY,
    customer_id        uuid NOT NULL REFERENCES customers (id),
    origin_customer_id uuid NOT NULL REFERENCES customers (id),
    manager            text NOT NULL,
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz,
    actor              text NOT NULL,
    created_at         timestamptz NOT NULL
);
CREATE INDEX account_managers_customer ON account_managers (customer_id, id);
CREATE INDEX account_managers_manager ON account_managers (manager, id);

-- An id in the order of time, as UUIDv7, for rows that a statement makes.
CREATE FUNCTION uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7' || substr(r, 1, 3) || '8' || substr(r, 4, 15))::uuid
    FROM (SELECT md5(gen_random_uuid()::text) AS r) AS random
$$;
