-- API keys of callers. The secret itself is nowhere: it is random with 256 bits, so its plain hash cannot be searched.
CREATE TABLE api_key (
    id                  uuid PRIMARY KEY,
    secret_hash         bytea NOT NULL,
    name                text NOT NULL,
    hint                text NOT NULL, -- the secret's last four characters
    scopes              text[] NOT NULL,
    requests_per_minute integer CHECK (requests_per_minute > 0),
    expires_at          timestamptz,
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL,
    last_used_at        timestamptz,
    revoked_at          timestamptz,
    idempotency_key     text,
    CONSTRAINT api_key_secret_hash UNIQUE (secret_hash),
    CHECK (octet_length(secret_hash) = 32)
);
CREATE UNIQUE INDEX api_key_idempotency ON api_key (created_by, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Requests admitted to a caller in a minute, over all replicas. Lost with a crash of the database, which only opens the window anew.
CREATE UNLOGGED TABLE quota_window (
    caller text NOT NULL,
    minute bigint NOT NULL, -- minutes since 1970
    taken  integer NOT NULL,
    PRIMARY KEY (caller, minute)
);
CREATE INDEX quota_window_minute ON quota_window (minute);
