using Crm.Campaigns.Domain.Campaigns;
using Crm.Campaigns.Features.Sending;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Links;

/// <summary>What the three pages share: the message of a link, the consents as this service knows them.</summary>
internal static class MailLinks
{
    public const string Email = "email";
    public const string Marketing = "marketing";

    /// <summary>The message that carried the link, locked when something is about to change; null for every other text.</summary>
    public static async Task<Message?> FindAsync(this CampaignsDb db, string token, MessageKind kind, bool forChange, CancellationToken ct)
    {
        if (!LinkToken.IsToken(token))
        {
            return null;
        }

        var hash = LinkToken.Hash(token);
        var found = forChange
            ? db.Messages.ForUpdate($"link_hash = {hash} AND kind = {EnumColumns.ToWord(kind)}")
            : db.Messages.Where(m => m.LinkHash == hash && m.Kind == kind).AsNoTracking();
        return (await found.ToListAsync(ct)).SingleOrDefault();
    }

    /// <summary>Since when marketing by e-mail is granted; null when it is not.</summary>
    public static Task<DateTimeOffset?> MarketingGrantedAtAsync(this CampaignsDb db, Guid customerId, CancellationToken ct) =>
        db.CustomerConsents.Where(c => c.CustomerId == customerId && c.Channel == Email && c.Purpose == Marketing && c.State == "granted")
            .Select(c => (DateTimeOffset?)c.At).FirstOrDefaultAsync(ct);

    /// <summary>The person's address, as the gateway saw it.</summary>
    public static string? AddressOf(HttpRequest request) => request.Headers[ClientAddress.Header] is [{ Length: > 0 and <= 45 } address] ? address : null;
}
