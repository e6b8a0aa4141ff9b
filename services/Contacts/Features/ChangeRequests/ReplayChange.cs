using Crm.Contacts.Domain;
using Crm.Contacts.Features.AccountManagers;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Lifecycles;
using Crm.Contacts.Features.Merges;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contacts.Features.Relationships;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>Does what was asked for, by the code that does it for those who need not ask.</summary>
internal sealed class ReplayChange(ContactsDb db, Policy policy, Validation validation, MergeImpact impact, MergeDuplicate duplicates, IOptions<MergeOptions> merges, IOptions<LifecycleOptions> lifecycles, IOptions<RecycleBinOptions> bin, TimeProvider clock)
{
    /// <param name="customer">That the request is filed under.</param>
    /// <exception cref="ProblemException">
    /// What the operation answers when it cannot be done now, 403 <c>department_forbidden</c> when another department would have
    /// to be asked by now; the request stays pending.
    /// </exception>
    public async Task RunAsync(ChangeRequest request, Customer customer, HttpContext http, CancellationToken ct)
    {
        if (await DoAsync(request, customer, http, ct) is Accepted<ChangeRequestView>)
        {
            throw new ProblemException(ProblemCodes.DepartmentForbidden, "Records of it belong to a department by now that was not asked; it has to be asked for anew.");
        }
    }

    private async Task<IResult?> DoAsync(ChangeRequest request, Customer customer, HttpContext http, CancellationToken ct)
    {
        switch (request.Operation)
        {
            case ChangeOperation.ChangeCustomer:
                FieldRules.RequireWritable<CustomerInput>(request.Wanted, CallerRights.OfRoles(request.RequesterRoles, policy));
                return await PatchCustomer.SaveAsync(customer, MergePatch.Apply(customer.ToInput(), request.Wanted), http, db, validation, clock, ct);
            case ChangeOperation.DeleteCustomer:
                return await DeleteCustomer.RunAsync(customer.Id, request.Body<DeleteCustomer.Request>(), requireVersion: _ => { }, http, db, bin.Value, clock, ct);
            case ChangeOperation.CreateRelationship:
                return await CreateRelationship.RunAsync(customer.Id, request.Body<RelationshipInput>(), http, db, clock, ct);
            case ChangeOperation.ChangeRelationship:
                return await ChangeRelationship.PatchAsync(Ids.Relationship.Format(request.SubjectId!.Value), request.Wanted, http, db, validation, clock, ct);
            case ChangeOperation.DeleteRelationship:
                return await ChangeRelationship.DeleteAsync(Ids.Relationship.Format(request.SubjectId!.Value), http, db, clock, ct);
            case ChangeOperation.AssignAccountManager:
                return await AssignAccountManager.RunAsync(customer.Id, request.Body<AccountManagerInput>(), http, db, clock, ct);
            case ChangeOperation.MergeCustomers:
                var (reason, actor) = ((string)request.Wanted["reason"]!, http.User.Subject());
                await MergeCustomers.RunAsync(
                    Convert.FromBase64String((string)request.Before["preview"]!), reason, actor, db, impact, merges.Value, clock,
                    merge => (string?)request.Before["duplicate"] is { } pair ? duplicates.RequireDecidedAsync(Ids.Duplicate.Parse(pair), merge, ct) : Task.CompletedTask, ct);
                return null;
            case ChangeOperation.UndoMerge:
                return await UndoMerge.RunAsync(request.SubjectId!.Value, new() { Reason = (string)request.Wanted["reason"]! }, http, db, merges.Value, lifecycles.Value, clock, ct);
            default:
                throw new InvalidOperationException($"{request.Operation} cannot be done.");
        }
    }
}
