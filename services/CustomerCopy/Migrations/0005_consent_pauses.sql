-- Nothing is sent until then, whatever is granted.
ALTER TABLE customer_consents ADD COLUMN paused_until timestamptz;
