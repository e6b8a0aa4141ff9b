using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Merges;

/// <summary>
/// Merges, newest first; <c>status=running</c> and <c>status=undoing</c> list those that wait for a service, and for whom.
/// <c>customer_id</c> lists those, undone or not, in which the customer takes part whom the id stands for now, or anybody who is
/// merged into that customer now, directly or over others: under the id of an absorbed one it is the list of the survivor.
/// </summary>
internal static class ReadMerges
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "status", "customer_id"];

    public static async Task<Ok<MergeView>> Handle(string id, ContactsDb db, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await db.FindMergeAsync(Ids.Merge.TryParse(id, out var key) ? key : throw ProblemException.NotFound("merge"), options.Value, clock, ct));

    public static async Task<Page<MergeView>> HandleList(HttpRequest request, ContactsDb db, IOptions<MergeOptions> options, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Merge);
        IQueryable<Merge> all = db.Merges;
        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            // Whom the caller does not see leads it to nobody. As an array, so that both indexes are used.
            Guid[] group = await db.Customers.AnyAsync(c => c.Id == customer, ct)
                ? await db.Database.SqlQuery<Guid>($"SELECT id AS \"Value\" FROM customers_below(ARRAY[customer_root({customer})]) AS id").ToArrayAsync(ct)
                : [];
            all = db.Merges.SelectFrom($"merges WHERE survivor_id = ANY ({group}) OR absorbed_ids && {group}");
        }

        var merges = db.SeenMerges(all).AsNoTracking().Include(m => m.Receipts).AsSplitQuery();
        if (request.ReadWord<MergeStatus>("status") is { } status)
        {
            merges = merges.Where(m => m.Status == status);
        }

        var now = clock.GetUtcNow();
        return await merges.ToPageAsync(page, m => m.Id, Ids.Merge, m => MergeView.Of(m, options.Value, now), ct);
    }
}
