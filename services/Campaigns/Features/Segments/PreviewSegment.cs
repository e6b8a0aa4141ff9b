using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Campaigns.Features.Segments;

/// <summary>How many customers a definition would have, and the newest ten of them; nothing is stored.</summary>
internal static class PreviewSegment
{
    private const int SampleSize = 10;

    public sealed record Request
    {
        /// <summary>As in a segment.</summary>
        [AsOfDay]
        public string? AsOf { get; init; }

        /// <summary>As in a segment.</summary>
        [Required]
        public JsonElement? Definition { get; init; }
    }

    public sealed record Response(long Count, IReadOnlyList<MemberView> Sample);

    public static async Task<Ok<Response>> Handle(Request body, CampaignsDb db, TimeProvider clock, CancellationToken ct)
    {
        var condition = await db.ReadNewForCallerAsync(body.Definition!.Value, ct);
        var count = await db.CountMembersAsync(condition, body.AsOf, clock, ct);
        var sample = await db.ListMembersAsync(condition, body.AsOf, new PageRequest(SampleSize, null, null), clock, ct);
        return TypedResults.Ok(new Response(count, sample.Data));
    }
}
