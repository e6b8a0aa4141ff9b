-- Exports and erasures ask for the addresses of a person's messages, and the database for those of each message that is deleted.
CREATE INDEX campaign_addresses_message ON campaign_addresses (message_id);
