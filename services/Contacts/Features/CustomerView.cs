using System.Text.Json;
using Crm.Contacts.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;

namespace Crm.Contacts.Features;

/// <summary>A customer as the API shows it.</summary>
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
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did: <c>created</c>, <c>updated</c> or <c>unchanged</c>; only there.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static CustomerView Of(Customer customer)
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
            customer.Attributes,
            customer.Tags,
            customer.State,
            [.. customer.MergedFrom.Select(Ids.Customer.Format)],
            customer.Version,
            customer.CreatedAt,
            customer.UpdatedAt);
    }
}

public enum UpsertResult
{
    Created,
    Updated,
    Unchanged,
}
