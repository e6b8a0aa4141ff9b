using System.ComponentModel.DataAnnotations;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>What <c>from</c> is to <c>to</c>.</summary>
public enum RelationshipType
{
    /// <summary>A company of its own that belongs to the other.</summary>
    Subsidiary,
    Branch,

    /// <summary>A place of the other: a plant, a shop, a warehouse.</summary>
    Location,

    /// <summary>A person who has a <c>role</c> at an organisation.</summary>
    Role,
    Supplier,
    Vendor,
    RetailOutlet,
    Distributor,
    TradeAssociation,
    LobbyGroup,
    Regulator,

    /// <summary>A person who has a say in a <c>purchase</c> of the other.</summary>
    BuyingGroup,
}

/// <summary>What a person of a buying group is to the purchase.</summary>
public enum BuyingRole
{
    DecisionMaker,
    Evaluator,
    Influencer,
    Payer,
    User,
}

/// <summary>What one customer is to another, from when until when.</summary>
internal sealed class Relationship
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "relationship";

    /// <summary>The child is <c>from</c>, the parent is <c>to</c>.</summary>
    public static readonly IReadOnlyList<RelationshipType> Hierarchy = [RelationshipType.Subsidiary, RelationshipType.Branch, RelationshipType.Location];

    private Relationship()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public RelationshipType Type { get; private set; }
    public Guid FromId { get; private set; }

    /// <summary>Under whom it was recorded.</summary>
    public Guid OriginFromId { get; private set; }
    public Guid ToId { get; private set; }
    public Guid OriginToId { get; private set; }
    public string? Role { get; private set; }
    public string? Purchase { get; private set; }
    public DateOnly? StartsOn { get; private set; }

    /// <summary>The last day.</summary>
    public DateOnly? EndsOn { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }
    public Customer From { get; private set; } = null!;
    public Customer To { get; private set; } = null!;

    /// <exception cref="ProblemException">400, or 422 when the two cannot be this to one another.</exception>
    public static Relationship Begin(RelationshipInput input, Customer from, Customer to, DateTimeOffset now)
    {
        var type = input.Type!.Value;
        RequireKinds(type, from, to);
        var relationship = new Relationship
        {
            Id = Guid.CreateVersion7(now),
            Type = type,
            FromId = from.Id,
            OriginFromId = from.Id,
            ToId = to.Id,
            OriginToId = to.Id,
            Purchase = input.Purchase?.Trim(),
            CreatedAt = now,
            From = from,
            To = to,
        };
        relationship.Take(input, now);
        return relationship;
    }

    public RelationshipTerms Terms => new() { Role = Role, StartsOn = StartsOn, EndsOn = EndsOn };

    /// <summary>False when nothing differs.</summary>
    /// <exception cref="ProblemException">400.</exception>
    public bool Change(RelationshipTerms terms, DateTimeOffset now)
    {
        if (terms == Terms)
        {
            return false;
        }

        Take(terms, now);
        return true;
    }

    /// <summary>
    /// The first day that counts against others. When nobody said how it begins, that is the day on which it was recorded, or
    /// its last one: a parent that is entered without a date follows one that has ended.
    /// </summary>
    public DateOnly FirstDay() => FirstDayOf(Terms);

    /// <summary>Whether a day counts for both.</summary>
    public bool Overlaps(Relationship other) => (EndsOn is null || other.FirstDay() <= EndsOn) && (other.EndsOn is null || FirstDay() <= other.EndsOn);

    /// <summary>Whether it has another role by now, or days that did not count before.</summary>
    public bool SaysMoreThan(RelationshipTerms before) =>
        Role != before.Role || FirstDay() < FirstDayOf(before) || (before.EndsOn is { } end && (EndsOn is null || EndsOn > end));

    private DateOnly FirstDayOf(RelationshipTerms terms)
    {
        var recorded = DateOnly.FromDateTime(CreatedAt.UtcDateTime);
        return terms.StartsOn ?? (terms.EndsOn is { } end && end < recorded ? end : recorded);
    }

    private void Take(RelationshipTerms terms, DateTimeOffset now)
    {
        (Role, StartsOn, EndsOn) = (terms.Role?.Trim(), terms.StartsOn, terms.EndsOn);
        if (Errors().ToList() is { Count: > 0 } errors)
        {
            throw ProblemException.Invalid(errors);
        }

        Version++;
        UpdatedAt = now;
    }

    private IEnumerable<FieldError> Errors()
    {
        switch (Type)
        {
            case RelationshipType.Role when Role is null:
                yield return new("/role", "required", "What the person is there.");
                break;
            case RelationshipType.BuyingGroup when !EnumWords<BuyingRole>.TryParse(Role, out _):
                yield return new("/role", Role is null ? "required" : "unknown_value", "decision_maker, evaluator, influencer, payer or user.");
                break;
            case not (RelationshipType.Role or RelationshipType.BuyingGroup) when Role is not null:
                yield return new("/role", "not_allowed", "Only a person has a role.");
                break;
        }

        if ((Type == RelationshipType.BuyingGroup) != (Purchase is not null))
        {
            yield return Purchase is null ? new("/purchase", "required", "Of what purchase.") : new("/purchase", "not_allowed", "Only a buying group is about a purchase.");
        }

        if (EndsOn < StartsOn)
        {
            yield return new("/ends_on", "out_of_range", "The end lies before the start.");
        }
    }

    private static void RequireKinds(RelationshipType type, Customer from, Customer to)
    {
        var (person, organization) = (CustomerKind.Person, CustomerKind.Organization);
        var (wantedFrom, wantedTo) = type switch
        {
            RelationshipType.Role => (person, organization),
            RelationshipType.BuyingGroup => (person, to.Kind),
            _ => (organization, organization),
        };
        if (from.Id == to.Id)
        {
            throw new ProblemException(Contracts.ProblemCodes.Unprocessable, "Nobody has a relationship with itself.", new FieldError("/to_id", "same_customer"));
        }

        if (from.Kind != wantedFrom || to.Kind != wantedTo)
        {
            throw new ProblemException(
                Contracts.ProblemCodes.Unprocessable, $"{type.ToWord()} is from a {wantedFrom.ToWord()} to a {wantedTo.ToWord()}.", new FieldError(from.Kind != wantedFrom ? "/type" : "/to_id", "wrong_kind"));
        }
    }
}

/// <summary>What may change of a relationship.</summary>
public record RelationshipTerms
{
    /// <summary>Of type <c>role</c> any word, such as <c>head of purchasing</c>; of <c>buying_group</c> decision_maker, evaluator, influencer, payer or user.</summary>
    [Line(200)]
    public string? Role { get; init; }

    /// <summary>The first day.</summary>
    public DateOnly? StartsOn { get; init; }

    /// <summary>The last day.</summary>
    public DateOnly? EndsOn { get; init; }
}

/// <summary>What one customer, of the path, is to another.</summary>
public sealed record RelationshipInput : RelationshipTerms
{
    [Required]
    public RelationshipType? Type { get; init; }

    /// <summary>The other customer; of a branch, the organisation that it belongs to.</summary>
    [Required]
    public string? ToId { get; init; }

    /// <summary>Of type <c>buying_group</c>: what is bought, such as the number of an order or an offer.</summary>
    [Line(200)]
    public string? Purchase { get; init; }
}
