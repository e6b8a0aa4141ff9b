-- A hold that was set while customers were one is, after the undo, a hold on each of them: which one it was taken from.
ALTER TABLE legal_holds ADD COLUMN carried_from uuid;

-- Of an undo: the holds that it set so.
ALTER TABLE merges ADD COLUMN carried_holds jsonb;
