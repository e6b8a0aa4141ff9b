-- What customers are entitled to, by tier. Fed by events, and at every start over gRPC; a version that is not newer is dropped.
CREATE TABLE tiers (
    name             text PRIMARY KEY,
    version          bigint NOT NULL,
    rank             integer NOT NULL,
    priority_queue   boolean NOT NULL,
    price_list       text,
    sla_policy       text,
    response_minutes integer
);
