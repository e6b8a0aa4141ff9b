using Crm.Campaigns.Domain.Segments;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Campaigns.Features.Segments;

/// <summary>One segment with its live count, unless that would tell the caller what its roles hide.</summary>
internal static class ReadSegment
{
    public static async Task<Ok<SegmentView>> Handle(string id, HttpContext http, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var segment = await db.FindSegmentAsync(id, ct);
        var condition = SegmentDefinition.Parse(segment.Definition);
        long? count = await db.HiddenGroupAsync(condition, ct) is null ? await db.CountMembersAsync(condition, segment.AsOf, clock, ct) : null;
        // For If-Match. If-None-Match is not looked at: the count changes without the version.
        http.Response.Headers.ETag = ETags.Of(segment.Version);
        return TypedResults.Ok(SegmentView.Of(segment) with { Count = count });
    }
}
