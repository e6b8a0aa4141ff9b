-- Under whom a row was recorded: exports and erasures ask for it, and each statement of a customer who has absorbed others.
CREATE INDEX consents_origin ON consents (origin_customer_id);
CREATE INDEX placed_orders_origin ON placed_orders (origin_customer_id);
CREATE INDEX account_managers_origin ON account_managers (origin_customer_id);
CREATE INDEX relationships_origin_from ON relationships (origin_from_id);
CREATE INDEX relationships_origin_to ON relationships (origin_to_id);

-- An erasure asks who was created although the erased were shown.
CREATE INDEX duplicate_overrides_candidates ON duplicate_overrides USING gin (candidate_ids);
