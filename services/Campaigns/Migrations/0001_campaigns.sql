-- A UUIDv7 (RFC 9562), for rows that are written by INSERT … SELECT.
CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- What segments ask of the copy of customers.
CREATE INDEX customers_lifecycle ON customers (lifecycle, id);
CREATE INDEX customers_country ON customers (country, id);
CREATE INDEX customers_attributes ON customers USING gin (attributes jsonb_path_ops);

-- Facts: small copies, fed by events only; a version that is not newer is dropped. No foreign keys to
-- customers: a fact may arrive before its customer.
CREATE TABLE orders (
    id           uuid PRIMARY KEY,
    version      bigint NOT NULL,
    customer_id  uuid NOT NULL,
    placed_at    timestamptz NOT NULL,
    amount_minor bigint NOT NULL,
    currency     text NOT NULL,
    status       text NOT NULL
);
CREATE INDEX orders_customer ON orders (customer_id, placed_at) INCLUDE (amount_minor, currency, status);

CREATE TABLE cases (
    id          uuid PRIMARY KEY,
    version     bigint NOT NULL,
    customer_id uuid NOT NULL,
    type        text NOT NULL,
    status      text NOT NULL
);
CREATE INDEX cases_open ON cases (customer_id) INCLUDE (type) WHERE status <> 'solved';

CREATE TABLE interactions (
    id          uuid PRIMARY KEY,
    version     bigint NOT NULL,
    customer_id uuid NOT NULL,
    started_at  timestamptz NOT NULL
);
CREATE INDEX interactions_customer ON interactions (customer_id, started_at);

CREATE TABLE segments (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL,
    name       text NOT NULL,
    as_of      text, -- a date or an instant, as it was given; only its UTC date has a meaning
    definition json NOT NULL, -- json, not jsonb: shown again in the order in which it was written
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE campaigns (
    id               uuid PRIMARY KEY,
    version          bigint NOT NULL,
    name             text NOT NULL,
    segment_id       uuid NOT NULL,
    channel          text NOT NULL,
    subject          text NOT NULL,
    text             text NOT NULL,
    html             text,
    launched_at      timestamptz, -- null while draft; whether it is complete is computed from messages
    launch_trace     text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT campaigns_segment_fkey FOREIGN KEY (segment_id) REFERENCES segments (id)
);
CREATE INDEX campaigns_segment ON campaigns (segment_id);

-- The send ledger: one row a member, written when the campaign is launched, never deleted.
CREATE TABLE messages (
    id             uuid PRIMARY KEY,
    campaign_id    uuid NOT NULL REFERENCES campaigns (id),
    customer_id    uuid NOT NULL,
    channel        text NOT NULL,
    status         text NOT NULL, -- pending, sending, sent, suppressed, failed, uncertain
    reason         text,          -- of suppressed, failed and uncertain
    smtp_code      integer,       -- the server's last refusal
    attempts       integer NOT NULL DEFAULT 0,
    next_at        timestamptz NOT NULL, -- not before, while pending
    lease_until    timestamptz,          -- while sending: afterwards its sender is dead
    message_domain text,                 -- Message-ID is <msg_…@message_domain>
    event_sequence bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    sent_at        timestamptz,
    finished_at    timestamptz,
    CONSTRAINT messages_member_key UNIQUE (campaign_id, customer_id, channel)
);
CREATE INDEX messages_due ON messages (next_at, id) WHERE status = 'pending';
CREATE INDEX messages_leased ON messages (lease_until) WHERE status = 'sending';
CREATE INDEX messages_campaign ON messages (campaign_id, id);
CREATE INDEX messages_campaign_status ON messages (campaign_id, status, id);
CREATE INDEX messages_customer ON messages (customer_id, id);

-- Two customers may share an address, and it gets one mail: whoever is written here first.
CREATE TABLE campaign_addresses (
    campaign_id uuid NOT NULL REFERENCES campaigns (id),
    address     text NOT NULL, -- lower case
    message_id  uuid NOT NULL REFERENCES messages (id),
    PRIMARY KEY (campaign_id, address)
);
