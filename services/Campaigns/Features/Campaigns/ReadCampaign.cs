using Crm.Hosting.Web;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>One campaign.</summary>
internal static class ReadCampaign
{
    public static async Task<IResult> Handle(string id, HttpContext http, CampaignsDb db, CancellationToken ct)
    {
        var campaign = await db.FindCampaignAsync(id, ct);
        var open = await db.OpenCampaignsAsync([campaign.Id], ct);
        var view = CampaignView.Of(campaign, open.Count > 0);
        return ETags.Ok(http, view.Version, view);
    }
}
