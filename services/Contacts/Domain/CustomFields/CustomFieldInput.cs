using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.CustomFields;

public enum CustomFieldType
{
    Text,
    Number,
    Integer,
    Boolean,
    Date,
    Instant,
    Choice,
    Url,

    /// <summary>Minor units and their currency.</summary>
    Money,
}

/// <summary>Which kind of customers has it.</summary>
public enum AppliesTo
{
    Person,
    Organization,
    Both,
}

/// <summary>Of the index that a field which is filtered by has.</summary>
public enum FieldIndexState
{
    Building,
    Ready,
    Failed,
}

/// <summary>The writable members of a definition: the body of create, and what a merge patch is applied to.</summary>
public sealed record CustomFieldInput : IValidatableObject
{
    private const int MostOptions = 500;

    /// <summary>The name in <c>attributes</c>; never changes and is never given to another field.</summary>
    [Required, Slug]
    public string? Name { get; init; }

    /// <summary>What people call it.</summary>
    [Required, Line(200)]
    public string? Label { get; init; }

    [Prose(2000)]
    public string? Description { get; init; }

    /// <summary>Cannot change once a customer has a value.</summary>
    [Required]
    public CustomFieldType? Type { get; init; }

    /// <summary>Of type <c>choice</c>. Options are added and archived, never taken away.</summary>
    [AtMost(MostOptions)]
    public List<CustomFieldOption>? Options { get; init; }

    /// <summary>Default <c>both</c>.</summary>
    public AppliesTo? AppliesTo { get; init; }

    /// <summary>A new customer needs a value, and one that is there cannot be taken away. Who has none yet can be changed all the same.</summary>
    public bool? Required { get; init; }

    /// <summary>The list of customers can be filtered by it.</summary>
    public bool? Indexed { get; init; }

    /// <summary>
    /// No two customers have the same value, those in the recycle bin included; of types <c>text</c> (500 characters at most,
    /// compared as they are), <c>integer</c> and <c>url</c>. Once <c>uniqueness</c> is <c>ready</c> customers are found by it
    /// where imports and upserts look for them.
    /// </summary>
    public bool? Unique { get; init; }

    /// <summary>The field group that a role needs, besides <c>custom_fields</c>, to read or write it. Default <c>custom_fields</c>.</summary>
    public string? FieldGroup { get; init; }

    /// <summary>False brings an archived field back; a new one is not archived.</summary>
    public bool? Archived { get; init; }

    /// <summary>The same with defaults filled in.</summary>
    internal CustomFieldInput Normalized() => this with
    {
        Label = Label?.Trim(),
        Options = [.. (Options ?? []).Select(o => o with { Archived = o.Archived ?? false })],
        AppliesTo = AppliesTo ?? CustomFields.AppliesTo.Both,
        Required = Required ?? false,
        Indexed = Indexed ?? false,
        Unique = Unique ?? false,
        FieldGroup = FieldGroup ?? FieldGroups.CustomFields,
        Archived = Archived ?? false,
    };

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (FieldGroup is not null && !FieldGroups.All.Contains(FieldGroup))
        {
            yield return new($"unknown_value|One of {string.Join(", ", FieldGroups.All)}.", [nameof(FieldGroup)]);
        }

        if (Unique is true && Type is not (null or CustomFieldType.Text or CustomFieldType.Integer or CustomFieldType.Url))
        {
            yield return new("not_allowed|Only text, whole numbers and addresses are unique.", [nameof(Unique)]);
        }

        if (Type == CustomFieldType.Choice && Options is not [_, ..])
        {
            yield return new("required|A choice has options.", [nameof(Options)]);
        }

        if (Type is not null and not CustomFieldType.Choice && Options is [_, ..])
        {
            yield return new("not_allowed|Only a choice has options.", [nameof(Options)]);
        }

        if (Options?.Exists(o => o is null) is true)
        {
            yield return new("wrong_type|null is not an option.", [nameof(Options)]);
        }
        else if (Options?.DistinctBy(o => o.Value, StringComparer.OrdinalIgnoreCase).Count() < Options?.Count)
        {
            yield return new("duplicate_value|An option is there twice.", [nameof(Options)]);
        }
    }
}

/// <summary>A value that a choice can have.</summary>
public sealed record CustomFieldOption
{
    [Required, Line(200)]
    public string? Value { get; init; }

    [Line(200)]
    public string? Label { get; init; }

    /// <summary>Customers keep it; nobody gets it any more.</summary>
    public bool? Archived { get; init; }
}
