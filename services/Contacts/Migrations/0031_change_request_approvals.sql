-- A merge may concern records of several departments: those that have approved it so far.
ALTER TABLE change_requests ADD COLUMN approvals jsonb NOT NULL DEFAULT '[]';
