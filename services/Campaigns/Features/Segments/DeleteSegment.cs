using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Crm.Campaigns.Features.Segments;

/// <summary>Deletes a segment that no campaign names; needs <c>If-Match</c>.</summary>
internal static class DeleteSegment
{
    public static async Task<NoContent> Handle(string id, HttpContext http, CampaignsDb db, CancellationToken ct)
    {
        var segment = await db.FindSegmentAsync(id, ct);
        ETags.RequireMatch(http, segment.Version);
        db.Segments.Remove(segment);
        db.AuditRow("segment", segment.Id, customerId: null, segment);
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
        }
        catch (DbUpdateException exception) when (exception.InnerException is PostgresException { ConstraintName: CampaignsDb.CampaignSegmentKey })
        {
            throw new ProblemException(ProblemCodes.Conflict, "A campaign names this segment.");
        }

        return TypedResults.NoContent();
    }
}
