using Crm.Contacts.Domain.Erasures;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Erasures;

/// <summary>Erasures, newest first; <c>status=running</c> lists those that wait for a service, and for whom.</summary>
internal static class ReadErasures
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "status", "customer_id"];

    public static async Task<Ok<ErasureView>> Handle(string id, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var erasure = Ids.Erasure.TryParse(id, out var key) ? await db.Erasures.AsNoTracking().Include(e => e.Receipts).FirstOrDefaultAsync(e => e.Id == key, ct) : null;
        return TypedResults.Ok(ErasureView.Of(erasure ?? throw ProblemException.NotFound("erasure"), clock.GetUtcNow()));
    }

    public static async Task<Page<ErasureView>> HandleList(HttpRequest request, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var page = PageRequest.Read(request, Ids.Erasure);
        IQueryable<Erasure> erasures = db.Erasures.AsNoTracking().Include(e => e.Receipts).AsSplitQuery();
        if (request.ReadWord<ErasureStatus>("status") is { } status)
        {
            erasures = erasures.Where(e => e.Status == status);
        }

        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? id : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            erasures = erasures.Where(e => e.CustomerIds.Contains(customer));
        }

        var now = clock.GetUtcNow();
        return await erasures.ToPageAsync(page, e => e.Id, Ids.Erasure, e => ErasureView.Of(e, now), ct);
    }
}
