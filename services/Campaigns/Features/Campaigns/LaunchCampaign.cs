using System.Diagnostics;
using Crm.Campaigns.Domain.Segments;
using Crm.Campaigns.Features.Segments;
using Crm.Campaigns.Features.Sending;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>
/// Launches a draft: who is a member at this moment gets a row in the send ledger, in the same transaction.
/// Of two launches one gets 409; there is one row a member and channel whatever happens.
/// </summary>
internal static class LaunchCampaign
{
    /// <summary>Seconds; the snapshot reads every customer.</summary>
    private const int Limit = 60;

    public static async Task<Ok<CampaignView>> Handle(
        string id, HttpContext http, CampaignsDb db, SendingSignal signal, TimeProvider clock, CancellationToken ct)
    {
        if (!Ids.Campaign.TryParse(id, out var key))
        {
            throw ProblemException.NotFound("campaign");
        }

        var (campaign, members) = await db.InTransactionAsync(async () =>
        {
            // The second of two launches waits here and finds it launched.
            var found = await db.Campaigns.ForUpdate($"id = {key}").ToListAsync(ct);
            if (found is not [var draft])
            {
                throw ProblemException.NotFound("campaign");
            }

            // Who is a member may not be merged away before the row is there.
            await db.HoldMergesAsync(ct);
            var now = clock.GetUtcNow();
            var segment = await db.Segments.AsNoTracking().FirstAsync(s => s.Id == draft.SegmentId, ct);
            draft.Launch(now, Activity.Current?.Id, segment.Definition.GetRawText());
            db.AuditRow("campaign", draft.Id, customerId: null, draft);
            await db.SaveChangesAsync(ct);
            var query = SegmentSql.Compile(SegmentDefinition.Parse(segment.Definition), AsOf.Day(segment.AsOf, now));
            db.Database.SetCommandTimeout(Limit);
            var written = await db.Database.ExecuteSqlRawAsync(
                query.SnapshotSql,
                [.. query.Parameters, new NpgsqlParameter("campaign", key), new NpgsqlParameter("channel", draft.Channel.ToWord())], ct);
            return (draft, written);
        }, ct);
        signal.Raise();
        var view = CampaignView.Of(campaign, open: members > 0);
        http.Response.Headers.ETag = ETags.Of(view.Version);
        return TypedResults.Ok(view);
    }
}
