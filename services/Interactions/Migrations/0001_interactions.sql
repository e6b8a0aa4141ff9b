CREATE TABLE interactions (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    customer_id    uuid NOT NULL,
    channel        text NOT NULL,
    direction      text NOT NULL,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    time_zone      text,
    employee       text,
    participants   jsonb NOT NULL,
    subject        text,
    body           text,
    source         text, -- the system that the external id is of
    external_id    text,
    recorded_by    text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CHECK (ended_at >= started_at),
    CHECK ((source IS NULL) = (external_id IS NULL)),
    CONSTRAINT interactions_external_id_key UNIQUE (source, external_id)
);
CREATE INDEX interactions_customer ON interactions (customer_id, id);
CREATE INDEX interactions_customer_started_at ON interactions (customer_id, started_at);
CREATE INDEX interactions_started_at ON interactions (started_at, id);
CREATE INDEX interactions_channel ON interactions (channel, id);

-- Everything that happened with a customer, whichever service it happened in. No foreign key: an event may
-- arrive before its customer. A version that is not newer is dropped.
CREATE TABLE timeline (
    type        text NOT NULL,
    id          uuid NOT NULL,
    customer_id uuid NOT NULL,
    at          timestamptz NOT NULL,
    summary     text NOT NULL,
    version     bigint NOT NULL,
    PRIMARY KEY (type, id)
);
CREATE INDEX timeline_customer ON timeline (customer_id, at DESC, id DESC);
CREATE INDEX timeline_customer_type ON timeline (customer_id, type, at DESC, id DESC);
