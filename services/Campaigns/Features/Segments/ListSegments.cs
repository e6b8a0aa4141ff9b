using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Segments;

/// <summary>Segments, newest first, without counts.</summary>
internal static class ListSegments
{
    public static Task<Page<SegmentView>> Handle(HttpRequest request, CampaignsDb db, CancellationToken ct) =>
        db.Segments.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.Segment), s => s.Id, Ids.Segment, SegmentView.Of, ct);
}
