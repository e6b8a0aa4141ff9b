-- The check for duplicates at entry: an organization of the very same name.
CREATE INDEX customers_organization_names ON customers (search_name) WHERE kind = 'organization' AND state = 'active';
