using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.CustomFields;

/// <summary>One attribute of customers, as this installation has defined it.</summary>
internal sealed class CustomField
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "custom_field";

    private CustomField()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string Name { get; private set; } = "";
    public string Label { get; private set; } = "";
    public string? Description { get; private set; }
    public CustomFieldType Type { get; private set; }
    public List<CustomFieldOption> Options { get; private set; } = [];
    public AppliesTo AppliesTo { get; private set; }
    public bool Required { get; private set; }

    /// <summary>Customers are filtered by it.</summary>
    public bool Indexed { get; private set; }

    /// <summary>No two customers have the same value.</summary>
    public bool Unique { get; private set; }

    /// <summary>Of the index that sees to it; null without one.</summary>
    public FieldIndexState? UniqueState { get; private set; }

    public int UniqueAttempts { get; private set; }

    /// <summary>Why the last attempt to build it failed.</summary>
    public string? UniqueError { get; private set; }

    public string FieldGroup { get; private set; } = "";

    /// <summary>Null without an index.</summary>
    public FieldIndexState? IndexState { get; private set; }

    public int IndexAttempts { get; private set; }

    /// <summary>Why the last attempt to build the index failed.</summary>
    public string? IndexError { get; private set; }

    /// <summary>Since when its values are kept and no longer written.</summary>
    public DateTimeOffset? ArchivedAt { get; private set; }

    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public static CustomField Define(CustomFieldInput input, DateTimeOffset now)
    {
        if (input.Archived is true)
        {
            throw ProblemException.Invalid(new FieldError("/archived", "not_allowed", "A new field is not archived."));
        }

        var field = new CustomField { Id = Guid.CreateVersion7(now), Name = input.Name!, CreatedAt = now };
        field.Take(input.Normalized(), now);
        return field;
    }

    /// <summary>False when nothing differs.</summary>
    /// <param name="isUsed">Whether a customer has a value; asked only when that decides.</param>
    /// <exception cref="ProblemException">400 for what never changes; 409 <c>conflict</c> for a type that values have.</exception>
    public async Task<bool> ChangeAsync(CustomFieldInput input, Func<Task<bool>> isUsed, DateTimeOffset now)
    {
        if (input.Name != Name)
        {
            throw ProblemException.Invalid(new FieldError("/name", "not_allowed", "A name never changes."));
        }

        var kept = (input.Options ?? []).Select(o => o.Value!).ToHashSet(StringComparer.Ordinal);
        if (input.Type == CustomFieldType.Choice && Options.Find(o => !kept.Contains(o.Value!)) is { } gone)
        {
            throw ProblemException.Invalid(new FieldError("/options", "not_allowed", $"The option {gone.Value} can be archived, but not taken away."));
        }

        if (input.Type != Type && await isUsed())
        {
            throw new ProblemException(ProblemCodes.Conflict, "Customers have values of this type.", new FieldError("/type", "in_use"));
        }

        // Failed is worth another try when somebody asks for the index again.
        var wanted = input.Normalized();
        if (Same(wanted, ToInput()) && IndexState != FieldIndexState.Failed && UniqueState != FieldIndexState.Failed)
        {
            return false;
        }

        Take(wanted, now);
        return true;
    }

    public bool IsArchived => ArchivedAt is not null;

    public bool Has(CustomerKind kind) => AppliesTo switch
    {
        AppliesTo.Both => true,
        AppliesTo.Person => kind == CustomerKind.Person,
        _ => kind == CustomerKind.Organization,
    };

    public CustomFieldInput ToInput() => new()
    {
        Name = Name,
        Label = Label,
        Description = Description,
        Type = Type,
        Options = Options,
        AppliesTo = AppliesTo,
        Required = Required,
        Indexed = Indexed,
        Unique = Unique,
        FieldGroup = FieldGroup,
        Archived = IsArchived,
    };

    private static bool Same(CustomFieldInput a, CustomFieldInput b) =>
        a with { Options = null } == b with { Options = null } && a.Options!.SequenceEqual(b.Options!);

    private void Take(CustomFieldInput input, DateTimeOffset now)
    {
        var (wasType, wasIndex, wasUnique) = (Type, IndexState, UniqueState);
        Label = input.Label!;
        Description = input.Description;
        Type = input.Type!.Value;
        Options = input.Options!;
        AppliesTo = input.AppliesTo!.Value;
        Required = input.Required!.Value;
        Indexed = input.Indexed!.Value;
        Unique = input.Unique!.Value;
        FieldGroup = input.FieldGroup!;
        ArchivedAt = input.Archived is true ? ArchivedAt ?? now : null;
        if (!Indexed || IsArchived)
        {
            IndexState = null;
        }
        else if (MustBuild(wasIndex))
        {
            (IndexState, IndexAttempts, IndexError) = (FieldIndexState.Building, 0, null);
        }

        if (!Unique || IsArchived)
        {
            UniqueState = null;
        }
        else if (MustBuild(wasUnique))
        {
            (UniqueState, UniqueAttempts, UniqueError) = (FieldIndexState.Building, 0, null);
        }

        Version++;
        UpdatedAt = now;

        bool MustBuild(FieldIndexState? was) => was is null or FieldIndexState.Failed || wasType != Type;
    }
}
