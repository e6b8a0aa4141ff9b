using Crm.Campaigns.Domain.Segments;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Campaigns.Features.Segments;

/// <summary>Defines a segment; the answer has its count.</summary>
internal static class CreateSegment
{
    public static async Task<Created<SegmentView>> Handle(SegmentInput body, HttpContext http, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var condition = await db.ReadNewForCallerAsync(body.Definition!.Value, ct);
        var segment = Segment.Define(body.Name!, body.AsOf, body.Definition.Value, clock.GetUtcNow());
        db.Segments.Add(segment);
        db.AuditRow("segment", segment.Id, customerId: null, segment);
        await db.SaveChangesAsync(ct);
        var count = await db.CountMembersAsync(condition, segment.AsOf, clock, ct);
        http.Response.Headers.ETag = ETags.Of(segment.Version);
        var view = SegmentView.Of(segment) with { Count = count };
        return TypedResults.Created($"/v1/segments/{view.Id}", view);
    }
}
