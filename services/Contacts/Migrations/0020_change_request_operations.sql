-- A change request holds any operation: wanted is its body, before what that was based on.
ALTER TABLE change_requests
    ADD COLUMN operation text NOT NULL DEFAULT 'change_customer',
    ADD COLUMN subject_id uuid,                          -- the relationship or the merge that it is about
    ADD COLUMN concerned uuid[] NOT NULL DEFAULT '{}',   -- the customers that it changes
    ADD COLUMN requester_departments text[] NOT NULL DEFAULT '{}',
    ADD COLUMN history_ids uuid[] NOT NULL DEFAULT '{}', -- the entries of the audit log that it became
    ADD COLUMN event_sequence bigint NOT NULL DEFAULT 0;
UPDATE change_requests SET concerned = ARRAY[customer_id], history_ids = CASE WHEN history_id IS NULL THEN '{}' ELSE ARRAY[history_id] END;
DROP INDEX change_requests_history;
CREATE INDEX change_requests_history ON change_requests USING gin (history_ids);
-- Each change of a customer asks which requests it overtakes.
CREATE INDEX change_requests_concerned ON change_requests USING gin (concerned);
CREATE INDEX change_requests_subject ON change_requests (subject_id) WHERE status = 'pending' AND subject_id IS NOT NULL;
