-- Of a merge: what would have forbidden it and came while it was under way.
ALTER TABLE merge_receipts ADD COLUMN blockers jsonb;
