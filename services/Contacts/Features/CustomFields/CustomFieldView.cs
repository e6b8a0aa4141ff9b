using Crm.Contacts.Domain.CustomFields;
using Crm.Contracts;

namespace Crm.Contacts.Features.CustomFields;

/// <summary>A definition as the API shows it.</summary>
/// <param name="Index">Null without an index. Ranges are answered once it is ready.</param>
/// <param name="Uniqueness">Of a unique field: from <c>ready</c> on no two customers have the same value.</param>
/// <param name="UniquenessError">Why it failed; it is tried again when the definition is changed.</param>
/// <param name="IndexError">Why it failed; it is tried again when the definition is changed.</param>
public sealed record CustomFieldView(
    string Id,
    string Name,
    string Label,
    string? Description,
    CustomFieldType Type,
    IReadOnlyList<CustomFieldOption> Options,
    AppliesTo AppliesTo,
    bool Required,
    bool Indexed,
    FieldIndexState? Index,
    string? IndexError,
    bool Unique,
    FieldIndexState? Uniqueness,
    string? UniquenessError,
    string FieldGroup,
    DateTimeOffset? ArchivedAt,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    internal static CustomFieldView Of(CustomField field) => new(
        Ids.CustomField.Format(field.Id), field.Name, field.Label, field.Description, field.Type, field.Options, field.AppliesTo, field.Required, field.Indexed,
        field.IndexState, field.IndexError, field.Unique, field.UniqueState, field.UniqueError, field.FieldGroup, field.ArchivedAt, field.Version, field.CreatedAt, field.UpdatedAt);
}
