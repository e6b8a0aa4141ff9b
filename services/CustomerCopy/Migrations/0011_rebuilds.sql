-- Projections of this service that are built anew of their sources (services/CustomerCopy/Projections).
CREATE TABLE rebuilds (
    id           uuid PRIMARY KEY,
    projection   text NOT NULL,
    state        text NOT NULL DEFAULT 'running', -- running, completed, failed
    requested_by text NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    failures     integer NOT NULL DEFAULT 0, -- in a row
    error        text,
    next_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX rebuilds_running ON rebuilds (projection) WHERE state = 'running';
CREATE INDEX rebuilds_of_projection ON rebuilds (projection, id);

-- How far each source has come: written in the transaction that stores the page.
CREATE TABLE rebuild_sources (
    rebuild_id     uuid NOT NULL REFERENCES rebuilds (id),
    number         integer NOT NULL,
    source         text NOT NULL,
    resume_after   text NOT NULL DEFAULT '',
    row_count      bigint NOT NULL DEFAULT 0,
    estimated_rows bigint,
    repaired       bigint NOT NULL DEFAULT 0,
    removed        bigint NOT NULL DEFAULT 0,
    started_at     timestamptz,
    finished_at    timestamptz,
    PRIMARY KEY (rebuild_id, number)
);
