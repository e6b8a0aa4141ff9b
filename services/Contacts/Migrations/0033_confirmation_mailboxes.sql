-- Where the mail goes, in lower case: a mailbox is asked so often a day and no more, whoever is asked for whatever. Null of
-- what was asked for before this, and when the one whose mailbox it was is erased.
ALTER TABLE consent_confirmations ADD COLUMN mailbox text;
CREATE INDEX consent_confirmations_mailbox ON consent_confirmations (mailbox, requested_at);
