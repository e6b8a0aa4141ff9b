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
