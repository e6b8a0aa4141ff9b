using Crm.Contacts.Domain;
using Crm.Contacts.Features.History;
using Crm.Contracts;
using Crm.Hosting.Rights;

namespace Crm.Contacts.Features.ChangeRequests;

/// <summary>A change of a record of another department that somebody asked for.</summary>
/// <param name="Department">That owns the record now, and decides.</param>
/// <param name="RecordVersion">The customer's version when it was asked for.</param>
/// <param name="Changes">What the fields that the caller may see were then, and are to be.</param>
/// <param name="Reason">Why it was rejected.</param>
/// <param name="HistoryId">The entry of the customer's history that it became; null when nothing was left to change.</param>
public sealed record ChangeRequestView(
    string Id,
    string CustomerId,
    string? Department,
    ChangeRequestStatus Status,
    long RecordVersion,
    IReadOnlyList<FieldChange> Changes,
    string RequestedBy,
    DateTimeOffset RequestedAt,
    string? DecidedBy,
    DateTimeOffset? DecidedAt,
    string? Reason,
    string? HistoryId)
{
    internal static ChangeRequestView Of(ChangeRequest request, Customer customer)
    {
        var (before, wanted) = (FieldRules.Show<CustomerInput>(request.Before), FieldRules.Show<CustomerInput>(request.Wanted));
        return new(
            Ids.ChangeRequest.Format(request.Id), Ids.Customer.Format(request.CustomerId), customer.Department, request.Status, request.RecordVersion,
            [.. wanted.Select(w => new FieldChange(w.Key, before[w.Key]?.DeepClone(), w.Value?.DeepClone()))],
            request.RequestedBy, request.RequestedAt, request.DecidedBy, request.DecidedAt, request.Reason, Ids.History.Format(request.HistoryId));
    }
}
