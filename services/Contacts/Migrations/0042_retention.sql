-- For how long customers are kept with whom nobody has anything to do any more.
CREATE TABLE retention_policies (
    id              uuid PRIMARY KEY,
    version         bigint NOT NULL,
    name            text NOT NULL,
    lifecycles      text[] NOT NULL, -- of the customers whom it is about
    unused_for_days integer NOT NULL,
    erase_at_most   integer NOT NULL, -- customers in one run
    active          boolean NOT NULL,
    next_run_at     timestamptz,     -- null while it is not active
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX retention_policies_due ON retention_policies (next_run_at) WHERE active;

-- A run with the terms that the policy had, and what came of it.
CREATE TABLE retention_runs (
    id             uuid PRIMARY KEY,
    policy_id      uuid NOT NULL REFERENCES retention_policies (id),
    policy_version bigint NOT NULL, -- another one stops it
    preview        boolean NOT NULL, -- it erases nobody
    status         text NOT NULL,    -- running, completed, stopped
    actor          text NOT NULL,
    policy_name    text NOT NULL,
    lifecycles     text[] NOT NULL,
    unused_since   timestamptz NOT NULL,
    erase_at_most  integer NOT NULL,
    examined       bigint NOT NULL,  -- used + due + erased + kept
    used           bigint NOT NULL,
    due            bigint NOT NULL,
    erased         bigint NOT NULL,
    kept           bigint NOT NULL,
    kept_for       jsonb NOT NULL,   -- customers by reason
    limit_reached  boolean NOT NULL,
    missing        text[] NOT NULL,  -- services that have not answered
    attempts       integer NOT NULL, -- of the next customer's erasure
    -- The last customer that was looked at, in the order of updated_at and id.
    cursor_at      timestamptz NOT NULL,
    cursor_id      uuid NOT NULL,
    next_at        timestamptz NOT NULL, -- while it is running: until then it is in the hands of a replica
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz
);
CREATE UNIQUE INDEX retention_runs_running ON retention_runs (policy_id) WHERE status = 'running';
CREATE INDEX retention_runs_policy ON retention_runs (policy_id, id);

-- What became of the customers who were over their time. Not of those who had been used after all.
CREATE TABLE retention_results (
    run_id       uuid NOT NULL REFERENCES retention_runs (id),
    customer_id  uuid NOT NULL,
    outcome      text NOT NULL,   -- due (of a preview), erased, kept
    reasons      text[] NOT NULL, -- of a kept one
    last_used_at timestamptz NOT NULL,
    erasure_id   uuid,
    PRIMARY KEY (run_id, customer_id)
);
CREATE INDEX retention_results_customer ON retention_results (customer_id);
