-- By itself, so that nobody who reads waits for it. Old values have no origin: there is nothing to sort.
CREATE INDEX audit_value_origin ON audit_value (origin_customer_id) WHERE origin_customer_id IS NOT NULL;
