using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Campaigns.Features.Segments;

/// <summary>JSON merge patch; needs <c>If-Match</c>. The definition is one value: it is replaced whole, never merged.</summary>
internal static class PatchSegment
{
    public static async Task<Ok<SegmentView>> Handle(
        string id, HttpContext http, CampaignsDb db, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var patch = await MergePatch.ReadAsync(http.Request, ct);
        var segment = await db.FindSegmentAsync(id, ct);
        ETags.RequireMatch(http, segment.Version);
        var current = new SegmentInput
        {
            Name = segment.Name,
            AsOf = segment.AsOf,
            Definition = patch.ContainsKey("definition") ? null : segment.Definition,
        };
        var input = MergePatch.Apply(current, patch);
        await validation.EnsureValidAsync(input, ct);
        var condition = await db.ReadNewForCallerAsync(input.Definition!.Value, ct);
        segment.Change(input.Name!, input.AsOf, input.Definition.Value, clock.GetUtcNow());
        db.AuditRow("segment", segment.Id, customerId: null, segment);
        try
        {
            await db.SaveChangesAsync(ct);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw new ProblemException(Contracts.ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
        }

        var count = await db.CountMembersAsync(condition, segment.AsOf, clock, ct);
        http.Response.Headers.ETag = ETags.Of(segment.Version);
        return TypedResults.Ok(SegmentView.Of(segment) with { Count = count });
    }
}
