using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>
/// An operation on a record of another department: 202 with the change request that waits for that department; with the
/// pending one when the caller has asked for the same already.
/// </summary>
internal static class AskForChange
{
    /// <summary>Of one customer at a time: whoever changes the customer looks at all of them.</summary>
    private const int MostPending = 100;

    /// <summary>Whether the caller has to ask for a change of the customer; not when it may be made at once.</summary>
    /// <inheritdoc cref="OwnershipRules.RequireDepartmentAsync"/>
    public static async Task<bool> MustAskAsync(this ContactsDb db, Customer customer, CancellationToken ct, IReadOnlyCollection<string?>? groups = null)
    {
        if (await db.NeedsApprovalAsync(customer, ct, groups))
        {
            return true;
        }

        await db.RequireDepartmentAsync(customer, ct, groups);
        return false;
    }

    /// <summary>The same of several.</summary>
    /// <returns>The departments that have to be asked.</returns>
    public static async Task<List<string>> WhomToAskAsync(this ContactsDb db, IEnumerable<Customer> customers, CancellationToken ct)
    {
        var departments = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var customer in customers)
        {
            if (await db.MustAskAsync(customer, ct))
            {
                departments.Add(customer.Department!);
            }
        }

        return [.. departments];
    }

    /// <param name="customer">That it is filed under, as the caller read it.</param>
    /// <param name="wanted">What would have been done, which is valid.</param>
    /// <exception cref="ProblemException">409 <c>conflict</c> when a hundred wait already, 412 <c>stale_version</c>.</exception>
    public static async Task<IResult> AskAsync(this ContactsDb db, HttpContext http, Customer customer, WantedChange wanted, DateTimeOffset now, CancellationToken ct)
    {
        var request = ChangeRequest.Of(
            customer, wanted, http.User.Subject(), http.User.FindAll(CallerClaims.Roles).Select(c => c.Value), CallerRights.Current.Departments, now);
        return await db.InTransactionAsync(async () =>
        {
            // A merge or a change at this moment goes first.
            var version = (await db.Database.SqlQuery<long>($"SELECT version AS \"Value\" FROM customers WHERE id = {customer.Id} FOR UPDATE").ToListAsync(ct))[0];
            if (version != customer.Version)
            {
                throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
            }

            var pending = await db.ChangeRequests.AsNoTracking().Where(r => r.CustomerId == customer.Id && r.Status == ChangeRequestStatus.Pending).ToListAsync(ct);
            if (pending.Find(r => r.RequestedBy == request.RequestedBy && r.Asks(wanted)) is { } same)
            {
                return Accepted(same, customer);
            }

            if (pending.Count >= MostPending)
            {
                throw new ProblemException(ProblemCodes.Conflict, $"{MostPending} changes of this customer wait for a decision already.");
            }

            db.ChangeRequests.Add(request);
            db.AuditRow(ChangeRequest.RecordType, request);
            db.Publish(request, request.Changed());
            await db.SaveChangesAsync(ct);
            return Accepted(request, customer);
        }, ct);
    }

    public static IResult Accepted(ChangeRequest request, Customer customer)
    {
        var view = ChangeRequestView.Of(request, customer);
        return TypedResults.Accepted($"/v1/change-requests/{view.Id}", view);
    }
}
