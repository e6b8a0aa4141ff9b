-- Mappings of columns to fields, saved by name.
CREATE TABLE import_mappings (
    name       text PRIMARY KEY,
    definition jsonb NOT NULL,
    version    bigint NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE imports (
    id              uuid PRIMARY KEY,
    status          text NOT NULL, -- queued, running, completed, undoing, undone
    format          text NOT NULL, -- csv, ndjson
    mapping_name    text,
    mapping         jsonb NOT NULL, -- as it was when the import was sent
    columns         text[] NOT NULL,
    ignored_columns text[] NOT NULL,
    match_on        text[] NOT NULL,
    dry_run         boolean NOT NULL,
    actor           text NOT NULL,
    total           integer NOT NULL,
    next_row        integer NOT NULL, -- checkpoint: rows before it are done, in the transaction that said so
    attempts        integer NOT NULL, -- failures of the batch at hand
    created         integer NOT NULL,
    updated         integer NOT NULL,
    unchanged       integer NOT NULL,
    failed          integer NOT NULL,
    removed         integer NOT NULL,
    restored        integer NOT NULL,
    refused         integer NOT NULL,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    finished_at     timestamptz,
    undo_asked_at   timestamptz,
    undo_asked_by   text,
    undone_at       timestamptz
);
CREATE INDEX imports_open ON imports (created_at) WHERE status IN ('queued', 'running', 'undoing');

-- The body as it came, a record a row; rows go as soon as they are done.
CREATE TABLE import_rows (
    import_id uuid NOT NULL,
    row_no    integer NOT NULL,
    body      text NOT NULL, -- NDJSON: the line; CSV: the cells as a JSON array
    PRIMARY KEY (import_id, row_no)
);

-- What became of each row, and what an undo needs: the customer's fields before, and its version afterwards.
CREATE TABLE import_results (
    import_id   uuid NOT NULL REFERENCES imports (id),
    row_no      integer NOT NULL,
    outcome     text NOT NULL, -- created, updated, unchanged, failed
    customer_id uuid,
    version     bigint,
    before      jsonb,
    code        text,
    errors      jsonb,
    undo        text, -- removed, restored, refused
    undo_reason text,
    PRIMARY KEY (import_id, row_no)
);
CREATE INDEX import_results_outcome ON import_results (import_id, outcome, row_no);
CREATE INDEX import_results_customer ON import_results (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX import_results_to_undo ON import_results (import_id, row_no) WHERE undo IS NULL AND outcome IN ('created', 'updated');
CREATE INDEX import_results_undo ON import_results (import_id, undo, row_no) WHERE undo IS NOT NULL;
