using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.Campaigns.Domain.Segments;

internal enum Operator
{
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Contains,
    Exists,
}

internal enum FactType
{
    /// <summary>One of a list of words.</summary>
    Word,
    Text,

    /// <summary>A whole number; counts are 0 where there is nothing to count.</summary>
    Number,

    /// <summary>A sum in minor units of the currency that the condition names.</summary>
    Money,
    Instant,

    /// <summary>A list of words, one or several of which are asked for.</summary>
    Words,

    /// <summary>A custom attribute: text, number or boolean, as the compared value is.</summary>
    Attribute,

    /// <summary>A custom attribute of money, in minor units of the currency that the condition names.</summary>
    Amount,
}

/// <summary>Something that is known of a customer and can be asked for by name.</summary>
/// <param name="Words">Of a word; null of the tier, whose words are data.</param>
/// <param name="Argument">The attribute's name, or a consent's channel and purpose with a point between.</param>
internal sealed record Fact(string Name, FactType Type, IReadOnlyList<string>? Words = null, string? Argument = null)
{
    public const string Attributes = "attributes";
    public const string Consent = "consent";

    private static readonly string[] ConsentChannels = ["email", "phone", "sms", "post"];
    private static readonly string[] ConsentStates = ["granted", "denied", "withdrawn", "pending"];

    /// <summary>Every fact with a fixed name; the words of the enums are those of contracts/README.</summary>
    private static readonly Dictionary<string, Fact> Fixed = new Fact[]
    {
        new("lifecycle", FactType.Word, ["prospect", "enquiry", "active_buyer", "lapsed", "former", "won_back"]),
        new("kind", FactType.Word, ["person", "organization"]),
        new("tier", FactType.Word),
        new("tags", FactType.Words),
        new("country", FactType.Text),
        new("department", FactType.Text),
        new("locale", FactType.Text),
        new("email", FactType.Text),
        new("created_at", FactType.Instant),
        new("orders.count", FactType.Number),
        new("orders.spend", FactType.Money),
        new("orders.first_at", FactType.Instant),
        new("orders.last_at", FactType.Instant),
        new("orders.days_since_first", FactType.Number),
        new("orders.days_since_last", FactType.Number),
        new("cases.open", FactType.Number),
        new("complaints.open", FactType.Number),
        new("interactions.days_since_last", FactType.Number),
    }.ToDictionary(f => f.Name, StringComparer.Ordinal);

    private static readonly Dictionary<FactType, Operator[]> Operators = new()
    {
        [FactType.Word] = [Operator.Eq, Operator.Ne, Operator.In, Operator.Exists],
        [FactType.Text] = [Operator.Eq, Operator.Ne, Operator.In, Operator.Contains, Operator.Exists],
        [FactType.Number] = [Operator.Eq, Operator.Ne, Operator.Gt, Operator.Gte, Operator.Lt, Operator.Lte, Operator.In, Operator.Exists],
        [FactType.Money] = [Operator.Eq, Operator.Ne, Operator.Gt, Operator.Gte, Operator.Lt, Operator.Lte, Operator.Exists],
        [FactType.Instant] = [Operator.Eq, Operator.Ne, Operator.Gt, Operator.Gte, Operator.Lt, Operator.Lte, Operator.Exists],
        [FactType.Words] = [Operator.Contains, Operator.In, Operator.Exists],
        [FactType.Attribute] = Enum.GetValues<Operator>(),
        [FactType.Amount] = [Operator.Eq, Operator.Ne, Operator.Gt, Operator.Gte, Operator.Lt, Operator.Lte, Operator.Exists],
    };

    public IReadOnlyList<Operator> AllowedOperators => Operators[Type];

    public bool IsAttribute => Type is FactType.Attribute or FactType.Amount;

    /// <summary>It is compared among values of the currency that the condition names.</summary>
    public bool HasCurrency => Type is FactType.Money or FactType.Amount;

    /// <summary>The field group whose values a question about it tells; null when everybody may ask.</summary>
    public string? Group => Type switch
    {
        FactType.Attribute or FactType.Amount or FactType.Words => FieldGroups.CustomFields,
        FactType.Money => FieldGroups.Finance,
        _ => Name == "email" ? FieldGroups.ContactDetails : null,
    };

    public static Fact? Find(string name)
    {
        if (Fixed.TryGetValue(name, out var known))
        {
            return known;
        }

        return name.Split('.', 2) switch
        {
            [Attributes, var attribute] when SlugAttribute.IsSlug(attribute) => new(name, FactType.Attribute, Argument: attribute),
            [Consent, var rest] when rest.Split('.', 2) is [var channel, var purpose] && ConsentChannels.Contains(channel) && SlugAttribute.IsSlug(purpose) =>
                new(name, FactType.Word, ConsentStates, rest),
            _ => null,
        };
    }
}
