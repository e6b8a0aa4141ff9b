-- BlockingKeys.Version 2: vowel signs and the like are letters of a name. Keys of whose names and addresses have Latin, Greek
-- and Chinese letters only are the same; those of ids, which are unique, find nobody who has not the same key by the old ones.
-- Whose keys MakeMatchKeys is to make anew. They are not set null: the release before, which runs on, would make its own.
CREATE TABLE outdated_match_keys (customer_id uuid PRIMARY KEY);
INSERT INTO outdated_match_keys (customer_id)
SELECT id FROM customers
WHERE match_keys <> '{}'
  AND concat_ws(' ', given_name, family_name, name, addresses::text) ~ '[^\u0001-\u03FF\u1E00-\u200B\u200E-\u206F\u3400-\u9FFF]';

-- A model counts the same values under other keys, and compares ids by case now: the next scan that nobody asks for is a full one.
ALTER TABLE duplicate_models ADD COLUMN outdated boolean NOT NULL DEFAULT false;
UPDATE duplicate_models SET outdated = true;
