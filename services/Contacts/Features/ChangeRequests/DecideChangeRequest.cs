using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>
/// Decides about a change request: approved or rejected by somebody who changes records of the department that owns it and
/// did not ask for it, or withdrawn by who did. The same again answers the same and changes nothing.
/// </summary>
internal static class DecideChangeRequest
{
    public sealed record Rejection
    {
        /// <summary>Why it is not to be.</summary>
        [Required, Line(500)]
        public string? Reason { get; init; }
    }

    /// <summary>
    /// Changes the customer as by a PATCH of the approver, as far as both may write its fields. 409
    /// <c>change_request_outdated</c>, for good, when what it touches was changed since to something else.
    /// </summary>
    public static async Task<Ok<ChangeRequestView>> Approve(
        string id, HttpContext http, ContactsDb db, Policy policy, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        var view = await DecideAsync(id, db, async (request, customer) =>
        {
            await RequireOtherAsync(request, customer, http, db, ct);
            if (request.Status == ChangeRequestStatus.Outdated || !request.MayBecome(ChangeRequestStatus.Approved))
            {
                return null;
            }

            if (request.IsOvertakenBy(customer.ToInput()))
            {
                request.Overtake(http.User.Subject(), clock.GetUtcNow());
                return "outdated";
            }

            request.Approve(await ApplyAsync(request, customer, http, db, policy, validation, clock, ct), http.User.Subject(), clock.GetUtcNow());
            return "approved";
        }, ct);
        return view.Status != ChangeRequestStatus.Outdated
            ? TypedResults.Ok(view)
            : throw new ProblemException(
                ProblemCodes.ChangeRequestOutdated, "Its fields were changed since to something else; ask for the change anew.",
                [.. view.Changes.Select(c => new FieldError($"/{c.Field}", ProblemCodes.ChangeRequestOutdated.Code))]);
    }

    public static async Task<Ok<ChangeRequestView>> Reject(string id, Rejection body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await DecideAsync(id, db, async (request, customer) =>
        {
            await RequireOtherAsync(request, customer, http, db, ct);
            return request.Reject(body.Reason!, http.User.Subject(), clock.GetUtcNow()) ? "rejected" : null;
        }, ct));

    public static async Task<Ok<ChangeRequestView>> Withdraw(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await DecideAsync(id, db, (request, _) =>
        {
            if (request.RequestedBy != http.User.Subject())
            {
                throw new ProblemException(ProblemCodes.Forbidden, "Only who asked for it withdraws it.");
            }

            return Task.FromResult(request.Withdraw(http.User.Subject(), clock.GetUtcNow()) ? "withdrawn" : null);
        }, ct));

    /// <param name="decide">Says what happened to it, in the words of the audit log; null for nothing.</param>
    private static async Task<ChangeRequestView> DecideAsync(string id, ContactsDb db, Func<ChangeRequest, Customer, Task<string?>> decide, CancellationToken ct)
    {
        var found = await db.FindChangeRequestAsync(id, ct);
        return await db.InTransactionAsync(async () =>
        {
            // In the order in which a merge takes them: whom it is about, that row, and then the request.
            var owner = await db.HoldRootAsync(found.OriginCustomerId, ct);
            await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {owner} FOR UPDATE", ct);
            await db.FindRootAsync(Ids.Customer.Format(owner), ct);
            var request = (await db.ChangeRequests.FromSql($"SELECT * FROM change_requests WHERE id = {found.Id} FOR UPDATE").ToListAsync(ct)).SingleOrDefault()
                ?? throw ProblemException.NotFound("change request");
            var customer = await db.Whole().FirstAsync(c => c.Id == owner, ct);
            if (await decide(request, customer) is { } action)
            {
                db.Audit(action, ChangeRequest.RecordType, request.Id, customer.Id, AuditChanges.Of(db.Entry(request)));
                await db.SaveChangesAsync(ct);
            }

            return ChangeRequestView.Of(request, customer);
        }, ct);
    }

    /// <exception cref="ProblemException">403 for who asked for it, 403 <c>department_forbidden</c> for another department.</exception>
    private static async Task RequireOtherAsync(ChangeRequest request, Customer customer, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        await db.RequireDepartmentAsync(customer, ct);
        if (request.RequestedBy == http.User.Subject())
        {
            throw new ProblemException(ProblemCodes.Forbidden, "Nobody decides about a change that they asked for themselves; it can be withdrawn.");
        }
    }

    /// <summary>The entry of the customer's history; null when the customer is so already.</summary>
    private static async Task<Guid?> ApplyAsync(
        ChangeRequest request, Customer customer, HttpContext http, ContactsDb db, Policy policy, Validation validation, TimeProvider clock, CancellationToken ct)
    {
        FieldRules.RequireWritable<CustomerInput>(request.Wanted, CallerRights.OfRoles(request.RequesterRoles, policy));
        var version = customer.Version;
        await PatchCustomer.SaveAsync(customer, MergePatch.Apply(customer.ToInput(), request.Wanted), http, db, validation, clock, ct);
        // The tag is of the customer, and the answer is not.
        http.Response.Headers.ETag = default;
        return customer.Version == version ? null : db.AuditEntries.Local.Single(e => e.RecordType == Customer.RecordType && e.RecordId == customer.Id).Id;
    }
}
