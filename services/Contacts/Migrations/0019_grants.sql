-- What a department lets another one do with its records. One of a customer counts while that customer belongs to the owner,
-- and rests while it is merged into another one.
CREATE TABLE grants (
    id                 uuid PRIMARY KEY,
    version            bigint NOT NULL,
    event_sequence     bigint NOT NULL,
    owner_department   text NOT NULL,
    grantee_department text NOT NULL,
    customer_id        uuid REFERENCES customers (id), -- null: all customers of the owner
    field_group        text,                           -- null: the whole records
    access             text NOT NULL,                  -- read, write
    expires_at         timestamptz,
    reason             text NOT NULL,
    granted_by         text NOT NULL,
    granted_at         timestamptz NOT NULL,
    ended_at           timestamptz,                    -- revoked, or found expired by the next like it
    revoked_by         text,
    CHECK (customer_id IS NULL OR field_group IS NULL)
);
CREATE UNIQUE INDEX grants_present ON grants (owner_department, grantee_department, access, coalesce(customer_id::text, field_group, '')) WHERE ended_at IS NULL;
-- What each request of somebody in a department asks for.
CREATE INDEX grants_department ON grants (grantee_department) WHERE customer_id IS NULL AND ended_at IS NULL;
CREATE INDEX grants_customer ON grants (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX grants_owner ON grants (owner_department, id);
CREATE INDEX grants_grantee ON grants (grantee_department, id);
