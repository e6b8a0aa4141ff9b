using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;

namespace Crm.Contacts.Features.AccountManagers;

/// <summary>Who looks after a customer, from when until when.</summary>
/// <param name="EndsAt">From then on it is somebody else, or nobody; equal to the start of one who was replaced before beginning.</param>
/// <param name="Actor">Who said so.</param>
public sealed record AccountManagerView(
    string Id,
    string CustomerId,
    [property: FieldGroup(FieldGroups.Names)] string DisplayName,
    string Tier,
    Lifecycle Lifecycle,
    string Manager,
    DateTimeOffset StartsAt,
    DateTimeOffset? EndsAt,
    string Actor)
{
    internal static AccountManagerView Of(AccountManager assignment) => new(
        Ids.AccountManager.Format(assignment.Id), Ids.Customer.Format(assignment.CustomerId), assignment.Customer.DisplayName, assignment.Customer.Tier,
        assignment.Customer.Lifecycle, assignment.Manager, assignment.StartsAt, assignment.EndsAt, assignment.Actor);
}
