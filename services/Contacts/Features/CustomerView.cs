using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features;

/// <summary>A customer as the API shows it.</summary>
/// <param name="DisplayName">Empty of a person who is known by an e-mail address or a phone number only.</param>
/// <param name="MergedFrom">Ids that stand for this customer since they were merged into it.</param>
public sealed record CustomerView(
    string Id,
    CustomerKind Kind,
    [property: FieldGroup(FieldGroups.Names)] string? GivenName,
    [property: FieldGroup(FieldGroups.Names)] string? FamilyName,
    [property: FieldGroup(FieldGroups.Names)] string? Name,
    [property: FieldGroup(FieldGroups.Names)] string DisplayName,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<Email> Emails,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<Phone> Phones,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<Address> Addresses,
    [property: FieldGroup(FieldGroups.Identity)] DateOnly? BirthDate,
    string? Locale,
    string? TimeZone,
    Lifecycle Lifecycle,
    Source? Source,
    string? Department,
    string Tier,
    IReadOnlyList<ExternalIdInput> ExternalIds,
    [property: FieldGroup(FieldGroups.CustomFields)] IReadOnlyDictionary<string, JsonElement> Attributes,
    [property: FieldGroup(FieldGroups.CustomFields)] IReadOnlyList<string> Tags,
    CustomerState State,
    IReadOnlyList<string> MergedFrom,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt) : IPartOfRecord
{
    /// <inheritdoc/>
    [System.Text.Json.Serialization.JsonIgnore]
    public IReadOnlySet<string>? Granted { get; init; }

    /// <summary>What an upsert did: <c>created</c>, <c>updated</c> or <c>unchanged</c>; only there.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    /// <summary>As far as the department that owns it has granted; what is granted of this one customer, <see cref="CustomerShow.ShowAsync"/> knows.</summary>
    internal static CustomerView Of(Customer customer) => Of(customer, CallerRights.Current.GroupsOf(customer.Department));

    internal static CustomerView Of(Customer customer, IReadOnlySet<string>? granted)
    {
        var fields = customer.ToInput();
        return new(
            Ids.Customer.Format(customer.Id),
            customer.Kind,
            customer.GivenName,
            customer.FamilyName,
            customer.Name,
            customer.DisplayName,
            customer.Emails,
            customer.Phones,
            customer.Addresses,
            customer.BirthDate,
            customer.Locale,
            customer.TimeZone,
            customer.Lifecycle,
            fields.Source,
            customer.Department,
            customer.Tier,
            fields.ExternalIds!,
            granted is null ? customer.Attributes : CallerRights.Current.Shown(customer.Attributes, granted),
            customer.Tags,
            customer.State,
            [.. customer.MergedFrom.Select(Ids.Customer.Format)],
            customer.Version,
            customer.CreatedAt,
            customer.UpdatedAt)
        {
            Granted = granted,
        };
    }
}

internal static class CustomerShow
{
    /// <summary>Customers as the caller may see them: of a department that has granted some field groups these, unless a customer is granted whole.</summary>
    public static async Task<List<CustomerView>> ShowAsync(this ContactsDb db, IReadOnlyList<Customer> customers, CancellationToken ct)
    {
        var rights = CallerRights.Current;
        var parts = customers.Where(c => rights.GroupsOf(c.Department) is not null).Select(c => c.Id).ToArray();
        if (parts.Length == 0)
        {
            return [.. customers.Select(CustomerView.Of)];
        }

        var own = rights.Departments.ToArray();
        var whole = (await db.PresentGrants().Where(g => parts.Contains(g.CustomerId!.Value) && own.Contains(g.GranteeDepartment))
            .Select(g => new { g.CustomerId, g.OwnerDepartment }).ToListAsync(ct)).Select(g => (g.CustomerId, g.OwnerDepartment)).ToHashSet();
        return [.. customers.Select(c => whole.Contains((c.Id, c.Department ?? "")) ? CustomerView.Of(c, granted: null) : CustomerView.Of(c))];
    }
}
