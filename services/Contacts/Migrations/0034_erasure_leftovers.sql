-- A dry run has no undo: it keeps nothing of anybody, as it does from now on.
UPDATE import_results r SET before = NULL FROM imports i WHERE i.id = r.import_id AND i.dry_run AND r.before IS NOT NULL;

-- The entry of a deleted relationship had the names of both, and an erasure of the one who is named last did not find it. What
-- else it said is in the entries before it.
SELECT set_config('crm.erasing_by', 'svc:migration', true);
DELETE FROM audit_value v USING audit_entry e WHERE e.id = v.entry_id AND e.record_type = 'relationship' AND e.action = 'deleted';
SELECT set_config('crm.erasing_by', '', true);
