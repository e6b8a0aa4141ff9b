using Crm.Contacts.Domain;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Reports;

/// <summary>
/// How many of today's customers were won by which source, and what has become of them; of those created from
/// <c>created_at[gte]</c> on and before <c>created_at[lt]</c>. A merged customer counts as its survivor.
/// </summary>
internal static class ReportAcquisitionSources
{
    public static readonly string[] Parameters = ["created_at[gte]", "created_at[lt]"];

    /// <param name="Data">The source that won most first.</param>
    public sealed record Response(DateTimeOffset? From, DateTimeOffset? Before, long Customers, IReadOnlyList<SourceCount> Data);

    /// <param name="Source">Null: created before a source was required.</param>
    /// <param name="ByLifecycle">The states that any of them is in.</param>
    public sealed record SourceCount(SourceType? Source, long Customers, IReadOnlyList<LifecycleCount> ByLifecycle);

    public sealed record LifecycleCount(Lifecycle Lifecycle, long Customers);

    public static async Task<Ok<Response>> Handle(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        var (from, before) = (Instant(request, Parameters[0]), Instant(request, Parameters[1]));
        var customers = db.Customers.Where(c => c.State == CustomerState.Active);
        customers = from is null ? customers : customers.Where(c => c.CreatedAt >= from);
        customers = before is null ? customers : customers.Where(c => c.CreatedAt < before);
        var counts = await customers.GroupBy(c => new { c.SourceType, c.Lifecycle })
            .Select(g => new { g.Key.SourceType, g.Key.Lifecycle, Customers = g.LongCount() }).ToListAsync(ct);
        return TypedResults.Ok(new Response(from, before, counts.Sum(c => c.Customers),
        [
            .. counts.GroupBy(c => c.SourceType)
                .Select(g => new SourceCount(g.Key, g.Sum(c => c.Customers), [.. g.OrderBy(c => c.Lifecycle).Select(c => new LifecycleCount(c.Lifecycle, c.Customers))]))
                .OrderByDescending(s => s.Customers).ThenBy(s => s.Source),
        ]));
    }

    private static DateTimeOffset? Instant(HttpRequest request, string name) => request.Query[name] is not [{ } text] ? null
        : Instants.TryParse(text, out var instant) ? instant : throw ProblemException.InvalidParameter(name, "An RFC 3339 instant with its zone.");
}
