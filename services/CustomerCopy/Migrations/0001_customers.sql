-- Fed by identity events only; a version that is not newer is dropped.
CREATE TABLE customers (
    id            uuid PRIMARY KEY,
    version       bigint NOT NULL,
    kind          text NOT NULL,
    display_name  text NOT NULL,
    given_name    text,
    family_name   text,
    primary_email text,
    country       text,
    locale        text,
    time_zone     text,
    lifecycle     text NOT NULL,
    tier          text NOT NULL,
    department    text,
    attributes    jsonb NOT NULL,
    state         text NOT NULL,
    survivor_id   uuid,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);

CREATE TABLE customer_consents (
    customer_id uuid NOT NULL, -- no foreign key: consent may arrive before the customer
    channel     text NOT NULL,
    purpose     text NOT NULL,
    state       text NOT NULL,
    version     bigint NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (customer_id, channel, purpose)
);

-- One row once the copy has been filled over gRPC; a service added later starts without it.
CREATE TABLE customer_copy_filled (filled_at timestamptz NOT NULL);
