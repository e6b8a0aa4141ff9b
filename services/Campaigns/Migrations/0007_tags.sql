-- Segments ask for them.
CREATE INDEX customers_tags ON customers USING gin (tags) WHERE cardinality(tags) > 0;
