-- Every copy of customers has this index now, as customers_by_attribute.
DROP INDEX customers_attributes;
