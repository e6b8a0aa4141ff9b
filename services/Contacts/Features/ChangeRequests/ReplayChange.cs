using Crm.Contacts.Domain;
using Crm.Contacts.Features.AccountManagers;
using Crm.Contacts.Features.Duplicates;
using Crm.Contacts.Features.Merges;
using Crm.Contacts.Features.RecycleBin;
using Crm.Contacts.Features.Relationships;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>Does what was asked for, by the code that does it for those who need not ask.</summary>
internal sealed class ReplayChange(ContactsDb db, Policy policy, Validation validation, MergeImpact impact, MergeDuplicate duplicates, IOptions<MergeOptions> merges, IOptions<RecycleBinOptions> bin, TimeProvider clock)
{
    /// <param name="customer">That the request is filed under.</param>
    /// <exception cref="ProblemException">What the operation answers when it cannot be done now; the request stays pending.</exception>
    public Task RunAsync(ChangeRequest request, Customer customer, HttpContext http, CancellationToken ct)
    {
        switch (request.Operation)
        {
            case ChangeOperation.ChangeCustomer:
                FieldRules.RequireWritable<CustomerInput>(request.Wanted, CallerRights.OfRoles(request.RequesterRoles, policy));
                return PatchCustomer.SaveAsync(customer, MergePatch.Apply(customer.ToInput(), request.Wanted), http, db, validation, clock, ct);
            case ChangeOperation.DeleteCustomer:
                return DeleteCustomer.RunAsync(customer.Id, request.Body<DeleteCustomer.Request>(), requireVersion: _ => { }, http, db, bin.Value, clock, ct);
            case ChangeOperation.CreateRelationship:
                return CreateRelationship.RunAsync(customer.Id, request.Body<RelationshipInput>(), http, db, clock, ct);
            case ChangeOperation.ChangeRelationship:
                return ChangeRelationship.PatchAsync(Ids.Relationship.Format(request.SubjectId!.Value), request.Wanted, http, db, validation, clock, ct);
            case ChangeOperation.DeleteRelationship:
                return ChangeRelationship.DeleteAsync(Ids.Relationship.Format(request.SubjectId!.Value), http, db, clock, ct);
            case ChangeOperation.AssignAccountManager:
                return AssignAccountManager.RunAsync(customer.Id, request.Body<AccountManagerInput>(), http, db, clock, ct);
            case ChangeOperation.MergeCustomers:
                var (reason, actor) = ((string)request.Wanted["reason"]!, http.User.Subject());
                return MergeCustomers.RunAsync(
                    Convert.FromBase64String((string)request.Before["preview"]!), reason, actor, db, impact, merges.Value, clock,
                    merge => (string?)request.Before["duplicate"] is { } pair ? duplicates.DecideAsync(Ids.Duplicate.Parse(pair), merge, reason, actor, ct) : Task.CompletedTask, ct);
            case ChangeOperation.UndoMerge:
                return UndoMerge.RunAsync(request.SubjectId!.Value, new() { Reason = (string)request.Wanted["reason"]! }, http, db, merges.Value, clock, ct);
            default:
                throw new InvalidOperationException($"{request.Operation} cannot be done.");
        }
    }
}
