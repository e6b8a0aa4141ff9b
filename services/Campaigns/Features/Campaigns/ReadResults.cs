using Crm.Campaigns.Domain.Campaigns;
using Crm.Hosting.Data;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>
/// What became of a campaign, counted in its ledger: sent + suppressed + failed + uncertain + pending = members. 403
/// <c>field_forbidden</c> for who may not see what its segment asked for: the campaign itself says whether it is completed.
/// </summary>
internal static class ReadResults
{
    public sealed record SuppressedByReason(long NoConsent, long OpenComplaint, long NoAddress, long NotActive, long DuplicateAddress, long DuplicateCustomer, long Paused);

    /// <param name="Uncertain">May have been delivered, and is never sent again by itself.</param>
    /// <param name="Pending">Waiting or being sent.</param>
    /// <param name="CompletedAt">When the last message was sent or given up; null while any is pending.</param>
    public sealed record Response(
        CampaignStatus Status,
        long Members,
        long Sent,
        long Suppressed,
        SuppressedByReason SuppressedByReason,
        long Failed,
        long Uncertain,
        long Pending,
        DateTimeOffset? LaunchedAt,
        DateTimeOffset? CompletedAt);

    public static async Task<Ok<Response>> Handle(string id, CampaignsDb db, CancellationToken ct)
    {
        var campaign = await db.FindLedgerAsync(id, ct);
        var rows = await db.Messages.Where(m => m.CampaignId == campaign.Id)
            .GroupBy(m => new { m.Status, m.Reason })
            .Select(g => new { g.Key.Status, g.Key.Reason, Count = g.LongCount(), FinishedAt = g.Max(m => m.FinishedAt) })
            .ToListAsync(ct);
        var pending = Of(MessageStatus.Pending) + Of(MessageStatus.Sending);
        var status = campaign.Status(pending > 0);
        return TypedResults.Ok(new Response(
            status,
            rows.Sum(r => r.Count),
            Of(MessageStatus.Sent),
            Of(MessageStatus.Suppressed),
            new(Why(MessageReason.NoConsent), Why(MessageReason.OpenComplaint), Why(MessageReason.NoAddress), Why(MessageReason.NotActive), Why(MessageReason.DuplicateAddress),
                Why(MessageReason.DuplicateCustomer), Why(MessageReason.Paused)),
            Of(MessageStatus.Failed),
            Of(MessageStatus.Uncertain),
            pending,
            campaign.LaunchedAt,
            status == CampaignStatus.Completed ? rows.Max(r => r.FinishedAt) ?? campaign.LaunchedAt : null));

        long Of(MessageStatus wanted) => rows.Where(r => r.Status == wanted).Sum(r => r.Count);
        long Why(MessageReason wanted) => rows.Where(r => r.Status == MessageStatus.Suppressed && r.Reason == wanted).Sum(r => r.Count);
    }
}
