-- The report by source reads the index alone.
CREATE INDEX customers_created_at ON customers (created_at, source_type, lifecycle) WHERE state = 'active';
