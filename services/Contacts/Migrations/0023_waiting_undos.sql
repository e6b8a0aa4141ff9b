-- An undo asks the other services before it removes anybody, and waits for those that are away.
ALTER TABLE imports ADD COLUMN missing text[] NOT NULL DEFAULT '{}', ADD COLUMN next_at timestamptz;
