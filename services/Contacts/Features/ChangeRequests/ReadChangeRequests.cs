using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>What was asked for and what became of it, newest first; of a <c>status</c>, of a customer, or both.</summary>
internal static class ReadChangeRequests
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "status", "customer_id"];

    public static async Task<Page<ChangeRequestView>> List(HttpRequest request, ContactsDb db, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        var page = PageRequest.Read(request, Ids.ChangeRequest);
        var requests = db.VisibleChangeRequests();
        if (request.ReadWord<ChangeRequestStatus>("status") is { } status)
        {
            requests = requests.Where(r => r.Status == status);
        }

        if (request.Query["customer_id"] is [{ } text])
        {
            var customer = Ids.Customer.TryParse(text, out var id) ? await db.RootOfAsync(id, ct) : throw ProblemException.InvalidParameter("customer_id", "A customer id, cus_….");
            requests = requests.Where(r => r.CustomerId == customer);
        }

        var found = await requests.ToPageAsync(page, r => r.Id, Ids.ChangeRequest, r => r, ct);
        return new(await db.ShowAsync(found.Data, ct), found.HasMore, found.NextCursor);
    }

    public static async Task<Ok<ChangeRequestView>> One(string id, ContactsDb db, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        return TypedResults.Ok((await db.ShowAsync([await db.FindChangeRequestAsync(id, ct)], ct))[0]);
    }

    public static async Task<ChangeRequest> FindChangeRequestAsync(this ContactsDb db, string id, CancellationToken ct) =>
        Ids.ChangeRequest.TryParse(id, out var key) && await db.VisibleChangeRequests().FirstOrDefaultAsync(r => r.Id == key, ct) is { } request
            ? request
            : throw ProblemException.NotFound("change request");

    /// <summary>
    /// Those of customers who are there and whom the caller sees, and what put others into the recycle bin: the filter of
    /// customers goes over the reference.
    /// </summary>
    private static IQueryable<ChangeRequest> VisibleChangeRequests(this ContactsDb db) => db.ChangeRequests.AsNoTracking().Include(r => r.Customer)
        .Where(r => r.Customer.State == CustomerState.Active || (r.Customer.State == CustomerState.Deleted && r.Operation == ChangeOperation.DeleteCustomer));
}
