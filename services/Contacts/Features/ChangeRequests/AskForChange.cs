using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>
/// A change of a record of another department: 202 with the change request that waits for that department. 200 with the
/// customer when nothing is to be changed.
/// </summary>
internal static class AskForChange
{
    /// <param name="input">The new state, which is a valid one.</param>
    public static async Task<IResult> HandleAsync(Customer customer, CustomerInput input, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        string[] roles = [.. http.User.FindAll(CallerClaims.Roles).Select(c => c.Value)];
        var request = ChangeRequest.Of(customer, input.InRows(), http.User.Subject(), roles, clock.GetUtcNow());
        if (request is null)
        {
            http.Response.Headers.ETag = ETags.Of(customer.Version);
            return TypedResults.Ok(CustomerView.Of(customer));
        }

        await db.InTransactionAsync(async () =>
        {
            // A merge or a change at this moment goes first.
            var version = (await db.Database.SqlQuery<long>($"SELECT version AS \"Value\" FROM customers WHERE id = {customer.Id} FOR UPDATE").ToListAsync(ct))[0];
            if (version != customer.Version)
            {
                throw new ProblemException(ProblemCodes.StaleVersion, "The record was changed meanwhile; read it again.");
            }

            db.ChangeRequests.Add(request);
            db.AuditRow(ChangeRequest.RecordType, request.Id, customer.Id, request);
            return await db.SaveChangesAsync(ct);
        }, ct);
        var view = ChangeRequestView.Of(request, customer);
        return TypedResults.Accepted($"/v1/change-requests/{view.Id}", view);
    }
}
