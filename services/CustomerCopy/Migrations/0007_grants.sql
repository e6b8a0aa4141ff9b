-- What departments let one another do with their records. Fed by events, and at every start over gRPC; a version that is not
-- newer is dropped.
CREATE TABLE department_grants (
    id          uuid PRIMARY KEY,
    version     bigint NOT NULL,
    owner       text NOT NULL,
    department  text NOT NULL,
    customer_id uuid,          -- null: all customers of the owner
    field_group text,          -- null: the whole records
    access      text NOT NULL, -- read, write
    expires_at  timestamptz,
    ended       boolean NOT NULL
);
CREATE INDEX department_grants_department ON department_grants (department) WHERE customer_id IS NULL AND NOT ended;
CREATE INDEX department_grants_customer ON department_grants (customer_id) WHERE customer_id IS NOT NULL;
