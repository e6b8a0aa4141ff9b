-- What somebody wants changed in a record of another department, until somebody of that department has decided.
CREATE TABLE change_requests (
    id                 uuid PRIMARY KEY,
    customer_id        uuid NOT NULL REFERENCES customers (id),
    origin_customer_id uuid NOT NULL REFERENCES customers (id),
    status             text NOT NULL,   -- pending, approved, rejected, withdrawn, outdated
    record_version     bigint NOT NULL, -- of the customer when it was asked for
    before             jsonb NOT NULL,  -- the fields that it touches, as they were
    wanted             jsonb NOT NULL,  -- the same as they are to be: a merge patch
    requested_by       text NOT NULL,
    requester_roles    text[] NOT NULL,
    requested_at       timestamptz NOT NULL,
    decided_by         text,
    decided_at         timestamptz,
    reason             text,
    history_id         uuid             -- the entry of the customer's history that it became
);
CREATE INDEX change_requests_status ON change_requests (status, id);
CREATE INDEX change_requests_customer ON change_requests (customer_id, id);
CREATE INDEX change_requests_origin ON change_requests (origin_customer_id);
CREATE INDEX change_requests_history ON change_requests (history_id) WHERE history_id IS NOT NULL;
