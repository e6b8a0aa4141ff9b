-- Events that are committed and not yet confirmed by the broker (reliability.md, section 1).
CREATE TABLE outbox (
    id            uuid PRIMARY KEY,
    aggregate_id  uuid NOT NULL,
    aggregate_seq bigint NOT NULL,
    partition     smallint NOT NULL,
    type          text NOT NULL,
    payload       jsonb NOT NULL,
    traceparent   text,
    tracestate    text,
    baggage       text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    attempts      integer NOT NULL DEFAULT 0,
    next_at       timestamptz NOT NULL DEFAULT now(),
    last_error    text,
    UNIQUE (aggregate_id, aggregate_seq)
);
CREATE INDEX outbox_pending ON outbox (partition, created_at);

-- A relay owns a partition for as long as it holds this row's lock.
CREATE TABLE outbox_partition (id smallint PRIMARY KEY);
INSERT INTO outbox_partition SELECT generate_series(0, 63);

-- Messages whose effect is in this database.
CREATE TABLE inbox (
    consumer    text NOT NULL,
    message_id  uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- What was given up after its retries; nothing leaves this table but by an operator's replay.
CREATE TABLE dead_letter (
    id            uuid PRIMARY KEY,
    origin        text NOT NULL, -- 'outbox', or the queue whose consumer failed
    message_id    uuid NOT NULL,
    type          text NOT NULL,
    body          text NOT NULL,
    headers       jsonb NOT NULL,
    aggregate_id  uuid,
    aggregate_seq bigint,
    attempts      integer NOT NULL,
    error         text NOT NULL,
    failed_at     timestamptz NOT NULL DEFAULT now(),
    replay_asked_at timestamptz,
    UNIQUE (origin, message_id)
);
CREATE INDEX dead_letter_replay ON dead_letter (replay_asked_at) WHERE replay_asked_at IS NOT NULL;

-- Answers of writes made under an Idempotency-Key, stored in the transaction of the write.
CREATE TABLE idempotency (
    owner      text NOT NULL,
    operation  text NOT NULL,
    key        text NOT NULL,
    body_hash  bytea NOT NULL,
    status     integer NOT NULL,
    headers    jsonb NOT NULL,
    body       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, operation, key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);
