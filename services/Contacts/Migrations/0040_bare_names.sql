-- The check for duplicates at entry: of whom nothing is known but the name. By its hash: a name may be longer than an entry of an index.
CREATE INDEX customers_bare_names ON customers (hashtextextended(search_name, 0), id)
    WHERE state = 'active' AND birth_date IS NULL AND emails = '[]' AND phones = '[]' AND addresses = '[]';
