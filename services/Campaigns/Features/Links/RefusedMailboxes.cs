using Crm.Campaigns.Domain.Campaigns;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Links;

/// <summary>
/// Mailboxes whose owner ended something by a link. The link was sent to a mailbox, and its page promises that mailbox peace,
/// whoever else is registered with it: a consent counts for it only when it was given afterwards, for whichever record.
/// Kept is a digest, never the address. It outlives an erasure: a refusal is for good, and would otherwise be forgotten with
/// the record and broken when an old list with the address is imported. Who does not know the address learns nothing from
/// it. Contacts' blocked identifiers, which are addresses as they are and no word of the person, go with the last who has them.
/// </summary>
internal static class RefusedMailboxes
{
    /// <summary>In the transaction of the click, with the lock on its message; every address that this mail was sent to counts.</summary>
    public static Task RefuseAsync(this CampaignsDb db, Message message, string purpose, DateTimeOffset at, CancellationToken ct)
    {
        var id = message.Id;
        return db.Database.ExecuteSqlAsync($"""
            INSERT INTO refused_mailboxes AS r (digest, purpose, refused_at)
            SELECT sha256(convert_to(a.address, 'UTF8')), {purpose}, {at} FROM campaign_addresses a WHERE a.message_id = {id} ORDER BY a.address
            ON CONFLICT (digest, purpose) DO UPDATE SET refused_at = greatest(r.refused_at, excluded.refused_at)
            """, ct);
    }
}
