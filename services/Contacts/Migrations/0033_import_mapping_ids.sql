-- Under which the audit log has a mapping: one that was deleted and made again is another one.
ALTER TABLE import_mappings ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
