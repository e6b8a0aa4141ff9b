-- Merges of before let a survivor refer to itself, or to one who stands for it. The version stays, since there is no event and the
-- copies, which have no source, have the version.
UPDATE customers SET source_referrer_id = NULL
WHERE source_referrer_id IS NOT NULL AND (source_referrer_id = id OR source_referrer_id = ANY (merged_from));
