using System.ComponentModel.DataAnnotations;
using System.Text.RegularExpressions;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>A word that customers are marked with. It comes into being by its first use; whoever likes describes it.</summary>
internal sealed partial class Tag
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "tag";

    public const int MostOfCustomer = 50;

    public const string Pattern = $"^{Word}$";

    /// <summary>For people, what a name is.</summary>
    public const string Expected = "A tag is 1 to 40 of a-z, 0-9 and -, the first of them no -.";

    private const string Word = "[a-z0-9][a-z0-9-]{0,39}";

    private Tag()
    {
    }

    public Guid Id { get; private set; }

    /// <summary>0 until somebody describes it.</summary>
    public long Version { get; private set; }
    public string Name { get; private set; } = "";
    public string? Colour { get; private set; }
    public string? Description { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public bool IsDescribed => Version > 0;

    public static bool IsName(string text) => NamePattern().IsMatch(text);

    /// <summary>Sorted tags with one under another name, or without it.</summary>
    public static List<string> Replaced(IEnumerable<string> tags, string from, string? to) =>
        [.. tags.Select(t => t == from ? to : t).OfType<string>().Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>False when nothing differs.</summary>
    public bool Describe(TagInput input, DateTimeOffset now)
    {
        if (IsDescribed && input == ToInput())
        {
            return false;
        }

        (Name, Colour, Description) = (input.Name!, input.Colour, input.Description);
        Version++;
        UpdatedAt = now;
        return true;
    }

    public TagInput ToInput() => new() { Name = Name, Colour = Colour, Description = Description };

    [GeneratedRegex($@"\A{Word}\z", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex NamePattern();
}

/// <summary>What is said of a tag.</summary>
public sealed record TagInput
{
    /// <summary>Another one renames the tag with all customers, little by little.</summary>
    [Required, RegularExpression(Tag.Pattern, ErrorMessage = $"wrong_format|{Tag.Expected}")]
    public string? Name { get; init; }

    /// <summary>As the web has it, such as <c>#c0ffee</c>.</summary>
    [RegularExpression("^#[0-9a-f]{6}$", ErrorMessage = "wrong_format|A colour such as #c0ffee.")]
    public string? Colour { get; init; }

    [Prose(500)]
    public string? Description { get; init; }
}

/// <summary>A tag that all customers are to have under another name, or not any more; gone when they all have.</summary>
/// <param name="From">The name that they have.</param>
/// <param name="To">Null: none.</param>
internal sealed record TagChange(Guid Id, string From, string? To, string Actor, DateTimeOffset AskedAt);
