-- Of a row whose customer is again as the row made it, since the undo of a later import: the version before the row; version is that of the undo.
ALTER TABLE import_results ADD COLUMN from_version bigint;
