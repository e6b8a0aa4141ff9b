using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>JSON merge patch of a draft; needs <c>If-Match</c>. 409 once it is launched.</summary>
internal static class PatchCampaign
{
    public static async Task<Ok<CampaignView>> Handle(
        string id, HttpContext http, CampaignsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var campaign = await db.FindCampaignAsync(id, ct);
        var open = await db.OpenCampaignsAsync([campaign.Id], ct);
        ETags.RequireMatch(http, CampaignView.VersionOf(campaign, campaign.Status(open.Count > 0)));
        var input = MergePatch.Apply(CampaignInput.Of(campaign), patch);
        await validation.EnsureValidAsync(input, ct);
        var template = input.Template!.ToTemplate();
        var segment = await db.RequireSegmentAsync(input.SegmentId, ct);
        campaign.Change(input.Name!, segment, input.Channel ?? campaign.Channel, template, clock.GetUtcNow());
        await db.SaveCampaignAsync(campaign, ct);
        http.Response.Headers.ETag = ETags.Of(campaign.Version);
        return TypedResults.Ok(CampaignView.Of(campaign, open: false));
    }
}
