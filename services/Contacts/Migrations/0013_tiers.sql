-- What customers are entitled to, by tier; the other services keep a copy. No tier ever goes.
CREATE TABLE tiers (
    id               uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    version          bigint NOT NULL,
    event_sequence   bigint NOT NULL,
    rank             integer NOT NULL, -- the higher, the more privileged
    priority_queue   boolean NOT NULL,
    price_list       text,
    sla_policy       text,
    response_minutes integer,
    updated_at       timestamptz NOT NULL
);
INSERT INTO tiers (id, name, version, event_sequence, rank, priority_queue, updated_at)
VALUES (gen_random_uuid(), 'standard', 1, 0, 0, false, now()),
       (gen_random_uuid(), 'silver', 1, 0, 10, false, now()),
       (gen_random_uuid(), 'gold', 1, 0, 20, false, now()),
       (gen_random_uuid(), 'vip', 1, 0, 30, true, now());
