using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Campaigns;

/// <summary>Campaigns, newest first.</summary>
internal static class ListCampaigns
{
    public static async Task<Page<CampaignView>> Handle(HttpRequest request, CampaignsDb db, CancellationToken ct)
    {
        var page = await db.Campaigns.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.Campaign), c => c.Id, Ids.Campaign, c => c, ct);
        var open = await db.OpenCampaignsAsync(page.Data.Select(c => c.Id), ct);
        return new([.. page.Data.Select(c => CampaignView.Of(c, open.Contains(c.Id)))], page.HasMore, page.NextCursor);
    }
}
