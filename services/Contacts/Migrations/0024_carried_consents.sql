-- A refusal that was said while customers were one is, after the undo, a statement of each of them: which one it was taken from.
ALTER TABLE consents ADD COLUMN carried_from uuid;

-- Of an undo: the statements that it entered so.
ALTER TABLE merges ADD COLUMN carried_consents jsonb;
