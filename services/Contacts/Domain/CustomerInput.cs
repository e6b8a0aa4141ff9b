using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Net.Mail;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>The writable fields of a customer: the body of create and upsert, and what a merge patch is applied to.</summary>
public sealed record CustomerInput : IValidatableObject
{
    internal const int MostAttributes = 100;

    /// <summary>Characters.</summary>
    internal const int LongestAttribute = 2000;

    [Required]
    public CustomerKind? Kind { get; init; }

    /// <summary>A person's, who has one of the two names at least, or is known by an e-mail address or a phone number.</summary>
    [Line(200)]
    [FieldGroup(FieldGroups.Names)]
    public string? GivenName { get; init; }

    [Line(200)]
    [FieldGroup(FieldGroups.Names)]
    public string? FamilyName { get; init; }

    /// <summary>An organisation's.</summary>
    [Line(400)]
    [FieldGroup(FieldGroups.Names)]
    public string? Name { get; init; }

    [AtMost(20)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public List<Email>? Emails { get; init; }

    [AtMost(20)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public List<Phone>? Phones { get; init; }

    [AtMost(20)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public List<Address>? Addresses { get; init; }

    [FieldGroup(FieldGroups.Identity)]
    public DateOnly? BirthDate { get; init; }

    /// <summary>BCP 47, such as <c>en-GB</c>.</summary>
    [RegularExpression("^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", ErrorMessage = "wrong_format|A BCP 47 tag such as en-GB.")]
    public string? Locale { get; init; }

    /// <summary>IANA name, such as <c>Europe/London</c>.</summary>
    [Line(64)]
    public string? TimeZone { get; init; }

    /// <summary>Default <c>prospect</c>.</summary>
    public Lifecycle? Lifecycle { get; init; }

    /// <summary>How the customer was won; a new customer has one.</summary>
    public Source? Source { get; init; }

    /// <summary>The department that owns the record.</summary>
    [Slug]
    public string? Department { get; init; }

    /// <summary>One of <c>/v1/tiers</c>; default <c>standard</c>.</summary>
    [Slug]
    public string? Tier { get; init; }

    [AtMost(50)]
    public List<ExternalIdInput>? ExternalIds { get; init; }

    /// <summary>Custom fields by name: text, numbers of at most 28 digits, booleans and amounts of money, of the types that <c>/v1/custom-fields</c> defines.</summary>
    [AtMost(MostAttributes)]
    [FieldGroup(FieldGroups.CustomFields)]
    public Dictionary<string, JsonElement>? Attributes { get; init; }

    /// <summary>Each of 1 to 40 of <c>a-z 0-9 -</c>, 50 at most; in whatever order. A tag comes into being by its first use.</summary>
    [FieldGroup(FieldGroups.CustomFields)]
    public List<string>? Tags { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Kind == CustomerKind.Person && GivenName is null && FamilyName is null && Emails is not { Count: > 0 } && Phones is not { Count: > 0 })
        {
            yield return new("required|A person has a given_name or a family_name, or is known by an e-mail address or a phone number.", [nameof(GivenName)]);
        }

        if (Kind == CustomerKind.Person && Name is not null)
        {
            yield return new("not_allowed|name is an organization's; a person has given_name and family_name.", [nameof(Name)]);
        }

        if (Kind == CustomerKind.Organization && Name is null)
        {
            yield return new("required|An organization has a name.", [nameof(Name)]);
        }

        if (Kind == CustomerKind.Organization && (GivenName ?? FamilyName) is not null)
        {
            yield return new("not_allowed|An organization has a name only.", [GivenName is not null ? nameof(GivenName) : nameof(FamilyName)]);
        }

        var today = DateOnly.FromDateTime(((TimeProvider?)validationContext.GetService(typeof(TimeProvider)) ?? TimeProvider.System).GetUtcNow().UtcDateTime);
        if (BirthDate > today.AddDays(1))
        {
            yield return new("out_of_range|The birth date lies in the future.", [nameof(BirthDate)]);
        }

        if (TimeZone is not null && !(TimeZoneInfo.TryFindSystemTimeZoneById(TimeZone, out var zone) && zone.HasIanaId))
        {
            yield return new("unknown_value|Not an IANA time zone.", [nameof(TimeZone)]);
        }

        if (Emails?.Count(e => e?.Primary is true) > 1)
        {
            yield return new("invalid|Only one e-mail address is primary.", [nameof(Emails)]);
        }

        if (Phones?.Count(p => p?.Primary is true) > 1)
        {
            yield return new("invalid|Only one phone is primary.", [nameof(Phones)]);
        }

        if (Addresses?.Count(a => a?.Primary is true) > 1)
        {
            yield return new("invalid|Only one address is primary.", [nameof(Addresses)]);
        }

        foreach (var list in new (string Name, System.Collections.IEnumerable? Entries)[] { (nameof(Emails), Emails), (nameof(Phones), Phones), (nameof(Addresses), Addresses), (nameof(ExternalIds), ExternalIds) })
        {
            foreach (var (index, _) in (list.Entries?.Cast<object?>() ?? []).Index().Where(e => e.Item is null))
            {
                yield return new("wrong_type|null is not an entry.", [$"{list.Name}[{index}]"]);
            }
        }

        if (Tags?.Exists(t => t is null || !Tag.IsName(t)) is true)
        {
            yield return new($"wrong_format|{Tag.Expected}", [nameof(Tags)]);
        }
        else if (Tags?.Distinct().Count() > Tag.MostOfCustomer)
        {
            yield return new($"too_many|At most {Tag.MostOfCustomer} tags.", [nameof(Tags)]);
        }

        foreach (var (name, value) in Attributes ?? [])
        {
            if (!SlugAttribute.IsSlug(name))
            {
                yield return new("wrong_format|Names of attributes are lower-case words.", [nameof(Attributes)]);
            }
            else if (value.ValueKind is not (JsonValueKind.String or JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False or JsonValueKind.Object)
                // Whether it is money is a matter of its definition.
                || (value.ValueKind == JsonValueKind.Object && value.GetRawText().Length > LongestAttribute)
                || (value.ValueKind == JsonValueKind.String && (value.GetString()!.Length > LongestAttribute || value.GetString()!.Contains('\0', StringComparison.Ordinal))))
            {
                yield return new($"wrong_type|{name} is text of at most {LongestAttribute} characters, a number, a boolean or an amount of money.", [nameof(Attributes)]);
            }
        }
    }

    internal string DisplayName() => Kind == CustomerKind.Organization ? Name! : string.Join(' ', new[] { GivenName, FamilyName }.Where(n => n is not null));

    /// <summary>The same customer with defaults filled in and contact points in their canonical form.</summary>
    internal CustomerInput Normalized() => this with
    {
        // In one form of Unicode: the same letters typed on another machine are the same name.
        GivenName = GivenName?.Trim().Normalize(),
        FamilyName = FamilyName?.Trim().Normalize(),
        Name = Name?.Trim().Normalize(),
        Emails = OnePrimary(Emails ?? [], e => e.Primary is true, (e, primary) => e with { Address = Email.Normalize(e.Address), Type = e.Type ?? ContactPointType.Other, Primary = primary }),
        Phones = OnePrimary(Phones ?? [], p => p.Primary is true, (p, primary) => p with { Number = Phone.Normalize(p.Number), Type = p.Type ?? ContactPointType.Other, Primary = primary }),
        Addresses = OnePrimary(Addresses ?? [], a => a.Primary is true, (a, primary) => a with { Type = a.Type ?? ContactPointType.Other, Primary = primary, Lines = a.Lines ?? [] }),
        Lifecycle = Lifecycle ?? Domain.Lifecycle.Prospect,
        Tier = Tier ?? Domain.Tier.Standard,
        ExternalIds = [.. (ExternalIds ?? []).DistinctBy(e => (e.System, e.Id)).OrderBy(e => e.System, StringComparer.Ordinal).ThenBy(e => e.Id, StringComparer.Ordinal)],
        Attributes = Attributes ?? [],
        Tags = [.. (Tags ?? []).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)],
    };

    /// <summary>Names of the API fields in which the two differ.</summary>
    internal static IReadOnlyList<string> Differences(CustomerInput before, CustomerInput after)
    {
        var a = JsonSerializer.SerializeToElement(before, JsonDefaults.Options);
        var b = JsonSerializer.SerializeToElement(after, JsonDefaults.Options);
        return [.. a.EnumerateObject().Where(p => !JsonElement.DeepEquals(p.Value, b.GetProperty(p.Name))).Select(p => p.Name)];
    }

    /// <summary>The first is primary when none says so.</summary>
    private static List<T> OnePrimary<T>(List<T> entries, Func<T, bool> isPrimary, Func<T, bool, T> with)
    {
        var primary = Math.Max(0, entries.FindIndex(e => isPrimary(e)));
        return [.. entries.Select((e, i) => with(e, i == primary))];
    }
}

public sealed partial record Email : IValidatableObject
{
    [Required]
    [FieldGroup(FieldGroups.ContactDetails)]
    public string Address { get; init; } = null!;

    public ContactPointType? Type { get; init; }

    public bool? Primary { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Address is not null && !IsAddress(Address))
        {
            yield return new("wrong_format|Not an e-mail address.", [nameof(Address)]);
        }
    }

    internal static bool IsAddress(string text) =>
        text.Length <= 254 && Pattern().IsMatch(text) && MailAddress.TryCreate(text, out _);

    /// <summary>The domain has no case; the local part keeps the one it came with.</summary>
    internal static string Normalize(string address)
    {
        var trimmed = address.Trim();
        var at = trimmed.LastIndexOf('@');
        return at < 0 ? trimmed : trimmed[..at] + trimmed[at..].ToLowerInvariant();
    }

    [GeneratedRegex(@"^[^\s@<>""(),:;\[\]\\\p{C}]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+[\p{L}\p{N}-]{2,63}$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Pattern();
}

public sealed partial record Phone : IValidatableObject
{
    /// <summary>E.164, such as <c>+442079460000</c>; blanks, dots, dashes and brackets are taken out, and so is the (0) of +44 (0)20 7946 0000.</summary>
    [Required]
    [FieldGroup(FieldGroups.ContactDetails)]
    public string Number { get; init; } = null!;

    public ContactPointType? Type { get; init; }

    public bool? Primary { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Number is not null && !E164().IsMatch(Normalize(Number)))
        {
            yield return new("wrong_format|An E.164 number: + and 7 to 15 digits.", [nameof(Number)]);
        }
    }

    internal static string Normalize(string number)
    {
        var dialled = number.Contains('(', StringComparison.Ordinal) ? TrunkPrefix().Replace(number, "") : number;
        var compact = string.Concat(dialled.Where(c => c is not (' ' or '-' or '.' or '(' or ')' or '/' or '\u00a0')));
        return compact.StartsWith("00", StringComparison.Ordinal) ? string.Concat("+", compact.AsSpan(2)) : compact;
    }

    /// <summary>
    /// Calling codes, as a pattern has them, of countries where a 0 at the beginning is part of the number in E.164 too (ITU-T E.164
    /// national numbering plans): Italy, San Marino, the Vatican, Côte d'Ivoire (ten digits since 2021, such as 07…) and Congo
    /// (nine, such as 06…). Elsewhere it is dialled in the country only.
    /// </summary>
    private const string CodesWithZero = "39|378|379|225|242";

    private static readonly HashSet<string> KeepingZero = CodesWithZero.Split('|').Select(code => $"+{code}").ToHashSet(StringComparer.Ordinal);

    /// <summary>Whether a 0 at the beginning is part of the number (<see cref="CodesWithZero"/>).</summary>
    /// <param name="callingCode">Such as <c>+39</c>.</param>
    internal static bool KeepsZero(string callingCode) => KeepingZero.Contains(callingCode);

    [GeneratedRegex(@"^\+[1-9][0-9]{6,14}$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex E164();

    /// <summary>A (0) that follows a country code, but those of <see cref="KeepsZero"/>.</summary>
    [GeneratedRegex(@"(?<=^[ (]*(?:\+|00)[ (]*(?!" + CodesWithZero + @")[1-9][0-9]{0,2}[ \-.()/\u00a0]*)\([ \u00a0]*0[ \u00a0]*\)", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex TrunkPrefix();
}

public sealed record Address : IValidatableObject
{
    [AtMost(8)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public List<string>? Lines { get; init; }

    [Line(200)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public string? City { get; init; }

    [Line(200)]
    public string? Region { get; init; }

    [Line(32)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public string? PostalCode { get; init; }

    /// <summary>ISO 3166-1 alpha-2.</summary>
    public string? Country { get; init; }

    public ContactPointType? Type { get; init; }

    public bool? Primary { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Country is not null && !Countries.Contains(Country))
        {
            yield return new("unknown_value|Not a country of ISO 3166-1 alpha-2.", [nameof(Country)]);
        }

        if (Lines?.Any(l => l is null || l.Length > 200 || l.Any(char.IsControl)) is true)
        {
            yield return new("bad_text|Each line is one line of at most 200 characters.", [nameof(Lines)]);
        }
    }

    private static readonly HashSet<string> Countries = CultureInfo.GetCultures(CultureTypes.SpecificCultures)
        .Select(c => new RegionInfo(c.Name).TwoLetterISORegionName)
        .Where(c => c.Length == 2 && c.All(char.IsAsciiLetterUpper))
        .Concat(["AQ", "BV", "GS", "HM", "TF", "EH", "VA"])
        .ToHashSet(StringComparer.Ordinal);
}

public sealed record Source : IValidatableObject
{
    [Required]
    public SourceType? Type { get; init; }

    /// <summary>The customer who referred this one; with type <c>referral</c>.</summary>
    public string? ReferrerId { get; init; }

    [Line(200)]
    [FieldGroup(FieldGroups.Notes)]
    public string? Detail { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (ReferrerId is not null && !Ids.Customer.TryParse(ReferrerId, out _))
        {
            yield return new("wrong_format|Not a customer id.", [nameof(ReferrerId)]);
        }
    }
}

public sealed record ExternalIdInput
{
    [Required, Slug]
    public string? System { get; init; }

    [Required, Line(200)]
    public string? Id { get; init; }
}
