-- Null: of an order that was told before this; it is counted, and its amount is not known here until it is told again.
ALTER TABLE placed_orders ADD COLUMN total_minor bigint, ADD COLUMN currency text;
