-- No two customers have the same value; each has a unique index of its own, built and dropped beside the traffic.
ALTER TABLE custom_fields
    ADD COLUMN "unique"        boolean NOT NULL DEFAULT false,
    ADD COLUMN unique_state    text,
    ADD COLUMN unique_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN unique_error    text;
