-- Who a key acts as, for which departments, and whose rows it sees (hosting/Rights/RowFilter.cs).
ALTER TABLE api_key
    ADD COLUMN roles       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN departments text[] NOT NULL DEFAULT '{}',
    ADD COLUMN row_filter  jsonb;
