-- Mailboxes whose owner ended something by the link of a mail. Of the address its SHA-256 only: campaign_addresses has it in lower case.
CREATE TABLE refused_mailboxes (
    digest     bytea NOT NULL,
    purpose    text NOT NULL,
    refused_at timestamptz NOT NULL, -- last
    PRIMARY KEY (digest, purpose)
);
-- What was said before holds too.
INSERT INTO refused_mailboxes (digest, purpose, refused_at)
SELECT sha256(convert_to(a.address, 'UTF8')), 'marketing', max(m.link_used_at)
FROM messages m JOIN campaign_addresses a ON a.message_id = m.id
WHERE m.kind = 'campaign' AND m.link_used_at IS NOT NULL
GROUP BY 1;

-- And what is said to the release before while it runs on.
CREATE FUNCTION refuse_mailbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO refused_mailboxes AS r (digest, purpose, refused_at)
    SELECT sha256(convert_to(a.address, 'UTF8')), 'marketing', NEW.link_used_at FROM campaign_addresses a WHERE a.message_id = NEW.id ORDER BY a.address
    ON CONFLICT (digest, purpose) DO UPDATE SET refused_at = greatest(r.refused_at, excluded.refused_at);
    RETURN NULL;
END $$;
CREATE TRIGGER messages_refuse_mailbox AFTER UPDATE OF link_used_at ON messages FOR EACH ROW
WHEN (NEW.kind = 'campaign' AND NEW.link_used_at IS DISTINCT FROM OLD.link_used_at AND NEW.link_used_at IS NOT NULL)
EXECUTE FUNCTION refuse_mailbox();
