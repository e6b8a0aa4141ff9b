using System.Text.Json.Nodes;
using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Merges;
using Crm.Contacts.Features.History;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>A change of a record of another department that somebody asked for.</summary>
/// <param name="Department">That owns the record now, and decides.</param>
/// <param name="Operation">What is to be done.</param>
/// <param name="Request">
/// The body of the operation, unless that is in <paramref name="Changes"/>; null when it names a customer whom the caller does
/// not see, or was asked for while the customer was one with such a customer. Its reason is there for who sees the notes of customers.
/// </param>
/// <param name="RecordVersion">The customer's version when it was asked for.</param>
/// <param name="Changes">
/// What the fields that the caller may see were then, and are to be; none of what was asked for while the customer was one, until
/// an undo, with somebody whom the caller does not see.
/// </param>
/// <param name="Reason">Why it was rejected.</param>
/// <param name="Approvals">Of a merge over several departments: those that have approved it. It is made when all have.</param>
/// <param name="HistoryId">The entry of the customer's history that it became; null when nothing was left to change.</param>
public sealed record ChangeRequestView(
    string Id,
    string CustomerId,
    string? Department,
    ChangeOperation Operation,
    ChangeRequestStatus Status,
    long RecordVersion,
    IReadOnlyList<FieldChange> Changes,
    JsonObject? Request,
    string RequestedBy,
    DateTimeOffset RequestedAt,
    string? DecidedBy,
    DateTimeOffset? DecidedAt,
    string? Reason,
    string? HistoryId,
    IReadOnlyList<DepartmentApproval> Approvals)
{
    internal static ChangeRequestView Of(ChangeRequest request, Customer customer)
    {
        // Who asks may reach a part of the record only.
        var granted = CallerRights.Current.GroupsOf(customer.Department);
        var ofFields = request.Operation == ChangeOperation.ChangeCustomer;
        var (before, wanted) = ofFields ? (FieldRules.Show<CustomerInput>(request.Before), FieldRules.Show<CustomerInput>(request.Wanted)) : ([], []);
        return new(
            Ids.ChangeRequest.Format(request.Id), Ids.Customer.Format(request.CustomerId), customer.Department, request.Operation, request.Status, request.RecordVersion,
            [.. wanted.Where(w => Reaches(granted, w.Key)).Select(w => new FieldChange(w.Key, before[w.Key]?.DeepClone(), w.Value?.DeepClone()))], ofFields ? null : BodyOf(request, granted),
            request.RequestedBy, request.RequestedAt, request.DecidedBy, request.DecidedAt, request.Reason, Ids.History.Format(request.HistoryId), request.Approvals);
    }

    private static bool Reaches(IReadOnlySet<string>? granted, string field) =>
        granted is null || (field != FieldJson.Attributes && FieldRules.GroupOf<CustomerInput>(field) is var group && (group is null || granted.Contains(group)));

    private static JsonObject BodyOf(ChangeRequest request, IReadOnlySet<string>? granted)
    {
        var body = request.Wanted.DeepClone().AsObject();
        if (CallerRights.Current.Read(FieldGroups.Notes) != FieldAccess.Allow || granted?.Contains(FieldGroups.Notes) is false)
        {
            body.Remove("reason");
        }

        if (request.SubjectId is { } subject)
        {
            var (name, ids) = request.IsOfMerge ? ("merge_id", Ids.Merge) : ("relationship_id", Ids.Relationship);
            body[name] = ids.Format(subject);
        }

        return body;
    }
}

internal static class ChangeRequestShow
{
    /// <summary>Change requests with their customers, as the caller may see them.</summary>
    public static Task<List<ChangeRequestView>> ShowAsync(this ContactsDb db, IReadOnlyList<ChangeRequest> requests, CancellationToken ct) =>
        db.ShowAsync([.. requests.Select(r => (r, r.Customer))], ct);

    /// <inheritdoc cref="ShowAsync(ContactsDb, IReadOnlyList{ChangeRequest}, CancellationToken)"/>
    public static async Task<List<ChangeRequestView>> ShowAsync(this ContactsDb db, IReadOnlyList<(ChangeRequest Request, Customer Customer)> requests, CancellationToken ct)
    {
        var views = requests.Select(r => ChangeRequestView.Of(r.Request, r.Customer)).ToList();
        if (CallerRights.Current.AllCustomers)
        {
            return views;
        }

        var named = requests.SelectMany(r => r.Request.Named).Distinct().ToArray();
        var seen = (await db.Customers.Where(c => named.Contains(c.Id)).Select(c => c.Id).ToListAsync(ct)).ToHashSet();
        // As its history, by the record that was read then.
        var hidden = await HiddenValues.FindAsync(db, [.. requests.Select(r => r.Request.OriginCustomerId).Distinct()], ct);
        return [.. views.Zip(requests, (view, r) => hidden.Cover(r.Request.OriginCustomerId, r.Request.RequestedAt) ? view with { Changes = [], Request = null }
            : r.Request.Named.All(seen.Contains) ? view : view with { Request = null })];
    }
}
