-- What this installation keeps in the attributes of customers. A name is taken for ever: the values of an archived field stay.
CREATE TABLE custom_fields (
    id             uuid PRIMARY KEY,
    version        bigint NOT NULL,
    name           text NOT NULL,
    label          text NOT NULL,
    description    text,
    type           text NOT NULL,
    options        jsonb NOT NULL,
    applies_to     text NOT NULL,
    required       boolean NOT NULL,
    indexed        boolean NOT NULL,
    field_group    text NOT NULL,
    index_state    text,
    index_attempts integer NOT NULL,
    index_error    text,
    archived_at    timestamptz,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT custom_fields_name_key UNIQUE (name)
);
