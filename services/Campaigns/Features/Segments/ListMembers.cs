using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Campaigns.Features.Segments;

/// <summary>Who is in the segment at this moment, newest customer first.</summary>
internal static class ListMembers
{
    public static async Task<Page<MemberView>> Handle(string id, HttpRequest request, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Customer);
        var segment = await db.FindSegmentAsync(id, ct);
        return await db.ListMembersAsync(await db.ReadForCallerAsync(segment.Definition, ct), segment.AsOf, page, clock, ct);
    }
}
