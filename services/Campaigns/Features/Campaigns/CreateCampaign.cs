using Crm.Campaigns.Domain.Campaigns;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>Drafts a campaign; a broken template or an unknown variable is refused here, not at the first mail.</summary>
internal static class CreateCampaign
{
    public static async Task<Created<CampaignView>> Handle(CampaignInput body, HttpContext http, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var template = body.Template!.ToTemplate();
        var segment = await db.RequireSegmentAsync(body.SegmentId, ct);
        var campaign = Campaign.Draft(body.Name!, segment, body.Channel ?? MessageChannel.Email, template, clock.GetUtcNow());
        db.Campaigns.Add(campaign);
        await db.SaveCampaignAsync(campaign, ct);
        http.Response.Headers.ETag = ETags.Of(campaign.Version);
        var view = CampaignView.Of(campaign, open: false);
        return TypedResults.Created($"/v1/campaigns/{view.Id}", view);
    }
}
