-- For callers who see only the customers with an attribute (hosting/Rights/RowFilter.cs).
CREATE INDEX customers_attributes ON customers USING gin (attributes jsonb_path_ops);
