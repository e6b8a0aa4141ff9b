-- For callers who see only the customers with an attribute or of a department (hosting/Rights/RowFilter.cs).
CREATE INDEX customers_by_attribute ON customers USING gin (attributes jsonb_path_ops);
CREATE INDEX customers_by_department ON customers (department, id) WHERE department IS NOT NULL;
