using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Merges;

/// <summary>Merges, newest first; <c>status=running</c> and <c>status=undoing</c> list those that wait for a service, and for whom.</summary>
internal static class ReadMerges
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "status", "customer_id"];

    public static async Task<Ok<MergeView>> Handle(string id, ContactsDb db, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await db.FindMergeAsync(Ids.Merge.TryParse(id, out var key) ? key : throw ProblemException.NotFound("merge"), options.Value, clock, ct));

    public static async Task<Page<MergeView>> HandleList(HttpRequest request, ContactsDb db, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Merge);
        IQueryable<Merge> merges = db.SeenMerges().AsNoTracking().Include(m => m.Receipts).AsSplitQuery();
        if (request.ReadWord<MergeStatus>("status") is { } status)
        {
            merges = merges.Where(m => m.Status == status);
        }

        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            merges = merges.Where(m => m.SurvivorId == customer || m.AbsorbedIds.Contains(customer));
        }

        var now = clock.GetUtcNow();
        return await merges.ToPageAsync(page, m => m.Id, Ids.Merge, m => MergeView.Of(m, options.Value, now), ct);
    }
}
