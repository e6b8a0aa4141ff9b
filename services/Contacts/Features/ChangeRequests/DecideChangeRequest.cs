using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Auth;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>
/// Decides about a change request: approved or rejected by somebody who changes records of the department that owns it and
/// did not ask for it, or withdrawn by who did. A merge takes the approval of every department that is asked; one rejects it for
/// all. The same again answers the same and changes nothing.
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
    /// Does what was asked for, by the way of everybody who may do it at once, as far as both may write its fields. 409
    /// <c>change_request_outdated</c>, for good, when what it is based on was changed since.
    /// </summary>
    public static async Task<Ok<ChangeRequestView>> Approve(string id, HttpContext http, ContactsDb db, ReplayChange replay, TimeProvider clock, CancellationToken ct)
    {
        var view = await DecideAsync(id, db, async (request, customer) =>
        {
            var (asked, own) = await RequireOtherAsync(request, customer, http, db, ct);
            if (request.Status == ChangeRequestStatus.Outdated || !request.MayBecome(ChangeRequestStatus.Approved))
            {
                return null;
            }

            if (request.IsOvertakenBy(customer.ToInput()))
            {
                request.Overtake(http.User.Subject(), clock.GetUtcNow());
                return "outdated";
            }

            var isNew = request.ApproveFor(own, http.User.Subject(), clock.GetUtcNow());
            if (!asked.TrueForAll(request.IsApprovedBy))
            {
                return isNew ? "department_approved" : null;
            }

            string[] departments = [.. request.RequesterDepartments, .. request.Approvals.Select(a => a.Department)];
            if (departments.Length > 0)
            {
                CallerRights.Current.Approve(departments, await db.ReadGrantsAsync(departments, ct));
            }

            // Decided first: what it saves does not overtake it.
            request.Approve(http.User.Subject(), clock.GetUtcNow());
            var entries = db.AuditEntries.Local.Select(e => e.Id).ToHashSet();
            try
            {
                await replay.RunAsync(request, customer, http, ct);
            }
            // A preview that is not there any more has waited too long.
            catch (ProblemException problem) when (request.Operation == ChangeOperation.MergeCustomers && (problem.Code == ProblemCodes.PreviewOutdated || problem.Code == ProblemCodes.UnknownReference))
            {
                request.Outlive();
                return "outdated";
            }
            finally
            {
                CallerRights.Current.EndApproval();
            }

            // The tag is of the customer, and the answer is not.
            http.Response.Headers.ETag = default;
            var made = db.AuditEntries.Local.Where(e => !entries.Contains(e.Id) && e.RecordType != ChangeRequest.RecordType).ToList();
            request.Became(made.Find(e => e.RecordType == Customer.RecordType && e.RecordId == customer.Id)?.Id, made.Select(e => e.Id));
            return "approved";
        }, ct);
        return view.Status != ChangeRequestStatus.Outdated
            ? TypedResults.Ok(view)
            : throw new ProblemException(
                ProblemCodes.ChangeRequestOutdated, "What it is based on was changed since; ask for it anew.",
                [.. view.Changes.Select(c => new FieldError($"/{c.Field}", ProblemCodes.ChangeRequestOutdated.Code))]);
    }

    public static async Task<Ok<ChangeRequestView>> Reject(string id, Rejection body, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct) =>
        TypedResults.Ok(await DecideAsync(id, db, async (request, customer) =>
        {
            await RequireOtherAsync(request, customer, http, db, ct);
            return request.Reject(body.Reason!, http.User.Subject(), clock.GetUtcNow()) ? "rejected" : null;
        }, ct));

    public static async Task<Ok<ChangeRequestView>> Withdraw(string id, HttpContext http, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        CallerRights.Current.SeeParts();
        return TypedResults.Ok(await DecideAsync(id, db, (request, _) =>
        {
            if (request.RequestedBy != http.User.Subject())
            {
                throw new ProblemException(ProblemCodes.Forbidden, "Only who asked for it withdraws it.");
            }

            return Task.FromResult(request.Withdraw(http.User.Subject(), clock.GetUtcNow()) ? "withdrawn" : null);
        }, ct));
    }

    /// <param name="decide">Says what happened to it, in the words of the audit log; null for nothing.</param>
    private static async Task<ChangeRequestView> DecideAsync(string id, ContactsDb db, Func<ChangeRequest, Customer, Task<string?>> decide, CancellationToken ct)
    {
        var found = await db.FindChangeRequestAsync(id, ct);
        return await db.InTransactionAsync(async () =>
        {
            // In the order in which a merge takes them: whom it is about, that row, and then the request.
            if (found.HoldsConcerned)
            {
                await db.LockCustomersAsync([.. found.Concerned], ct);
            }

            var owner = await db.HoldRootAsync(found.OriginCustomerId, ct);
            await db.Database.ExecuteSqlAsync($"SELECT FROM customers WHERE id = {owner} FOR UPDATE", ct);
            var (_, state) = await db.FindKeptRootAsync(Ids.Customer.Format(owner), ct);
            if (state == CustomerState.Deleted && found.Operation != ChangeOperation.DeleteCustomer)
            {
                throw CustomerRoots.Deleted();
            }

            var request = (await db.ChangeRequests.ForUpdate($"id = {found.Id}").ToListAsync(ct)).SingleOrDefault()
                ?? throw ProblemException.NotFound("change request");
            var customer = await db.Whole().FirstAsync(c => c.Id == owner, ct);
            // What it does saves the request with it.
            var (before, status) = (Decision(request), request.Status);
            if (await decide(request, customer) is { } action)
            {
                db.Audit(action, ChangeRequest.RecordType, request.Id, customer.Id, AuditChanges.Between(before, Decision(request)), request.OriginCustomerId);
                if (request.Status != status)
                {
                    db.Publish(request, request.Changed());
                }

                await db.SaveChangesAsync(ct);
            }

            // Also when the decision took the customer out of the caller's sight.
            return (await db.ShowAsync([(request, customer)], ct))[0];
        }, ct);
    }

    private static object Decision(ChangeRequest request) => new { request.Status, request.DecidedBy, request.DecidedAt, request.Reason, request.HistoryIds, request.Approvals };

    /// <returns>Of a merge: the departments that have to approve it, and those of them that the caller decides for; else none.</returns>
    /// <exception cref="ProblemException">403 for who asked for it, 403 <c>department_forbidden</c> for another department.</exception>
    private static async Task<(List<string> Asked, List<string> Own)> RequireOtherAsync(ChangeRequest request, Customer customer, HttpContext http, ContactsDb db, CancellationToken ct)
    {
        var departments = (Asked: new List<string>(), Own: new List<string>());
        if (request.IsOfMerge)
        {
            departments = await FindDepartmentsAsync(request, db, ct);
        }
        else
        {
            await db.RequireDepartmentAsync(customer, ct);
        }

        if (request.RequestedBy == http.User.Subject())
        {
            throw new ProblemException(ProblemCodes.Forbidden, "Nobody decides about a change that they asked for themselves; it can be withdrawn.");
        }

        return departments;
    }

    /// <summary>Of the customers of a merge, those are decided about by their department that the requester does not change, whoever sees the others.</summary>
    private static async Task<(List<string> Asked, List<string> Own)> FindDepartmentsAsync(ChangeRequest request, ContactsDb db, CancellationToken ct)
    {
        var members = await db.Customers.IgnoreQueryFilters().AsNoTracking().Where(c => request.Concerned.Contains(c.Id)).ToListAsync(ct);
        var asked = members.Where(m => m.Department is { } owner && request.Asked.Contains(owner)).ToLookup(m => m.Department!, StringComparer.Ordinal);
        var (departments, own) = (asked.Select(d => d.Key).ToList(), asked.Select(d => d.Key).ToList());
        foreach (var member in asked.SelectMany(d => d))
        {
            if (!await db.MayChangeAsync(member, null, ct))
            {
                own.Remove(member.Department!);
            }
        }

        return departments.Count == 0 || own.Count > 0
            ? (departments, own)
            : throw new ProblemException(
                ProblemCodes.DepartmentForbidden, $"The records belong to {string.Join(", ", departments)}.", new FieldError("/department", ProblemCodes.DepartmentForbidden.Code));
    }
}
