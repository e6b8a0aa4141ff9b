-- Pairs whose merge was undone can be decided anew.
UPDATE duplicates d SET status = 'ignored', merge_id = NULL FROM merges m WHERE m.id = d.merge_id AND m.undo_asked_at IS NOT NULL;
CREATE INDEX duplicates_merge ON duplicates (merge_id) WHERE merge_id IS NOT NULL;
