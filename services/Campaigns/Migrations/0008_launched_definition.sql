-- Who is in the ledger of a campaign answers what its segment asked at the launch, whatever the segment asks since.
ALTER TABLE campaigns ADD COLUMN definition json; -- null while draft, and of those launched before
