CREATE TABLE cases (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    event_sequence bigint NOT NULL,
    history_count  integer NOT NULL,
    customer_id    uuid NOT NULL,
    type           text NOT NULL,
    subject        text NOT NULL,
    description    text,
    priority       text NOT NULL,
    queue          text NOT NULL,
    status         text NOT NULL,
    assignee       text,
    resolution     text,
    source         text, -- the system that the external id is of
    external_id    text,
    opened_at      timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    solved_at      timestamptz,
    CHECK ((status = 'solved') = (solved_at IS NOT NULL)),
    CHECK ((source IS NULL) = (external_id IS NULL)),
    CONSTRAINT cases_external_id_key UNIQUE (source, external_id)
);
CREATE INDEX cases_customer ON cases (customer_id, id);
CREATE INDEX cases_queue ON cases (queue, status, id);
CREATE INDEX cases_status ON cases (status, type, id);
CREATE INDEX cases_assignee ON cases (assignee, status, id);
CREATE INDEX cases_type ON cases (type, id);

CREATE TABLE case_messages (
    id        uuid PRIMARY KEY,
    case_id   uuid NOT NULL REFERENCES cases (id),
    direction text NOT NULL,
    body      text NOT NULL,
    author    text,
    at        timestamptz NOT NULL,
    actor     text NOT NULL
);
CREATE INDEX case_messages_case ON case_messages (case_id, id);

-- Who did what and when; rows are only ever added.
CREATE TABLE case_history (
    case_id uuid NOT NULL REFERENCES cases (id),
    number  integer NOT NULL,
    version bigint NOT NULL, -- of the case, once it had happened
    change  text NOT NULL,
    status  text NOT NULL,
    detail  text,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    PRIMARY KEY (case_id, number)
);
