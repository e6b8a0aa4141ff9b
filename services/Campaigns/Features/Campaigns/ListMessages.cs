using Crm.Campaigns.Domain.Campaigns;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>
/// The send ledger of a campaign, newest row first; <c>status=uncertain</c> lists what an operator must look into. Without those to customers in the recycle bin.
/// 403 <c>field_forbidden</c> for who may not see what its segment asked for, as the segment's members are.
/// </summary>
internal static class ListMessages
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "status"];

    /// <param name="SmtpCode">The mail server's last refusal.</param>
    /// <param name="InternetMessageId">The Message-ID header, to be searched for in the mail server's log; null before the first try.</param>
    public sealed record MessageView(
        string Id,
        string CampaignId,
        string CustomerId,
        MessageChannel Channel,
        MessageStatus Status,
        MessageReason? Reason,
        int? SmtpCode,
        int Attempts,
        string? InternetMessageId,
        DateTimeOffset CreatedAt,
        DateTimeOffset? SentAt,
        DateTimeOffset? FinishedAt);

    public static async Task<Page<MessageView>> Handle(string id, HttpRequest request, CampaignsDb db, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Message);
        var campaign = await db.FindLedgerAsync(id, ct);
        var messages = db.OutOfBin(db.Messages.AsNoTracking()).Where(m => m.CampaignId == campaign.Id);
        if (request.ReadWord<MessageStatus>("status") is { } status)
        {
            messages = messages.Where(m => m.Status == status);
        }

        return await messages.ToPageAsync(page, m => m.Id, Ids.Message, View, ct);
    }

    private static MessageView View(Message message) => new(
        Ids.Message.Format(message.Id), Ids.Campaign.Format(message.CampaignId!.Value), Ids.Customer.Format(message.CustomerId), message.Channel, message.Status,
        message.Reason, message.SmtpCode, message.Attempts, message.InternetMessageId, message.CreatedAt, message.SentAt, message.FinishedAt);
}
