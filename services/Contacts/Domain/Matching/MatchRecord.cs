using System.Globalization;
using System.Text;

namespace Crm.Contacts.Domain.Matching;

/// <summary>What the matching engine is told about a customer, as it was typed; nothing is required but the id.</summary>
internal sealed record MatchFields
{
    public required Guid Id { get; init; }
    public bool Organization { get; init; }
    public string? GivenName { get; init; }
    public string? FamilyName { get; init; }

    /// <summary>An organisation's.</summary>
    public string? Name { get; init; }

    /// <summary>Year, month, day as eight digits; need not be a date of the calendar.</summary>
    public string? BirthDate { get; init; }

    public IReadOnlyList<MatchAddress> Addresses { get; init; } = [];
    public IReadOnlyList<string> Emails { get; init; } = [];
    public IReadOnlyList<string> Phones { get; init; } = [];

    /// <summary>Ids that another system gave, national ones too; two that differ in case are two, as in Salesforce.</summary>
    public IReadOnlyList<(string System, string Value)> ExternalIds { get; init; } = [];
}

internal sealed record MatchAddress(IReadOnlyList<string> Lines, string? City, string? PostalCode, string? Country = null);

/// <summary>
/// A customer made ready for comparison: folded, abbreviations written one way, nothing that means "unknown".
/// What is missing is empty and counts neither for nor against (Fellegi and Sunter 1969 leave it out of the vector).
/// </summary>
internal sealed class MatchRecord
{
    private MatchRecord(MatchFields fields, Func<string, bool>? blocked)
    {
        Id = fields.Id;
        Organization = fields.Organization;
        (Given, Family) = fields.Organization ? ("", "") : Parted(Words(fields.GivenName), Words(fields.FamilyName));
        FamilyCompact = Family.Replace(" ", "", StringComparison.Ordinal);
        NameTokens = fields.Organization ? OrganizationName.Tokens(fields.Name) : [];
        Name = string.Join(' ', NameTokens);
        LegalForm = fields.Organization ? OrganizationName.LegalForm(fields.Name) : "";
        BirthDate = fields.BirthDate is { Length: 8 } digits && digits.All(char.IsAsciiDigit) && digits is not ("00000000" or "19000101" or "19700101" or "99991231" or "00010101")
            ? digits
            : "";
        Emails = Distinct(fields.Emails.Select(e => e.Trim().ToLowerInvariant()).Where(e => e.Length > 3 && blocked?.Invoke(e) is not true));
        Phones = Distinct(fields.Phones.Select(Digits).Where(p => p.Length >= 6 && !IsOneDigit(p) && blocked?.Invoke(p) is not true));
        ExternalIds = [.. fields.ExternalIds.Where(e => e.Value.Length > 0).Select(e => (e.System, e.Value.Trim())).Distinct().Order()];
        Addresses = [.. fields.Addresses.Select(NormalAddress.Of).Where(a => !a.IsEmpty)];
    }

    /// <summary>As <see cref="PackedRecords"/> has kept it.</summary>
    internal MatchRecord(
        Guid id, bool organization, string given, string family, string[] nameTokens, string legalForm, string birthDate, string[] emails, string[] phones,
        (string System, string Value)[] externalIds, NormalAddress[] addresses)
    {
        (Id, Organization, Given, Family, NameTokens, LegalForm, BirthDate) = (id, organization, given, family, nameTokens, legalForm, birthDate);
        FamilyCompact = Family.Replace(" ", "", StringComparison.Ordinal);
        Name = string.Join(' ', NameTokens);
        (Emails, Phones, ExternalIds, Addresses) = (emails, phones, externalIds, addresses);
    }

    public Guid Id { get; }
    public bool Organization { get; }
    public string Given { get; }
    public string Family { get; }

    /// <summary>The family name without blanks: "van den berg" and "vandenberg" are one.</summary>
    public string FamilyCompact { get; }

    /// <summary>An organisation's name without its legal form.</summary>
    public string Name { get; }

    public string[] NameTokens { get; }

    /// <summary>An organisation's as its name says it; it is not compared.</summary>
    public string LegalForm { get; }

    public string BirthDate { get; }
    public string[] Emails { get; }
    public string[] Phones { get; }
    public (string System, string Value)[] ExternalIds { get; }
    public NormalAddress[] Addresses { get; }

    /// <param name="fields">As they were typed.</param>
    /// <param name="blocked">Says which e-mail addresses (lower case) and phone numbers (digits) many people share and so prove nothing.</param>
    public static MatchRecord Of(MatchFields fields, Func<string, bool>? blocked = null) => new(fields, blocked);

    /// <summary>
    /// Nothing tells the two apart: whatever is compared is the same in both or missing in both, their <see cref="FullName"/> is
    /// known, and what many share counts too.
    /// </summary>
    public static bool AreIndistinguishable(MatchFields a, MatchFields b)
    {
        if (a.Organization != b.Organization || FullName(a) is not { } name || name != FullName(b))
        {
            return false;
        }

        var (one, other) = (Of(a), Of(b));
        return one.BirthDate == other.BirthDate
            && one.Emails.SequenceEqual(other.Emails, StringComparer.Ordinal)
            && one.Phones.SequenceEqual(other.Phones, StringComparer.Ordinal)
            && one.ExternalIds.SequenceEqual(other.ExternalIds)
            && one.Addresses.Select(Parts).ToHashSet().SetEquals(other.Addresses.Select(Parts))
            && a.Addresses.Select(x => x.Country).ToHashSet(StringComparer.Ordinal).SetEquals(b.Addresses.Select(x => x.Country));

        static (string, string, string, string, string) Parts(NormalAddress address) => (address.Number, address.Street, address.Second, address.City, address.PostalCode);
    }

    /// <summary>
    /// An organisation's name with its legal form, or a person's given and family name, folded; words such as "test" are names
    /// here. Null of a person of whom only one of the two is known, who may be anybody.
    /// </summary>
    public static string? FullName(MatchFields fields)
    {
        if (fields.Organization)
        {
            return Written(fields.Name) is { Length: > 0 } name ? name : null;
        }

        var (given, family) = Parted(Written(fields.GivenName), Written(fields.FamilyName));
        return given.Length > 0 && family.Length > 0 ? $"{given}|{family}" : null;
    }

    /// <summary>An e-mail address or phone number as <see cref="Emails"/> and <see cref="Phones"/> have it.</summary>
    public static string Identifier(string value) => value.Contains('@', StringComparison.Ordinal) ? value.Trim().ToLowerInvariant() : Digits(value);

    /// <summary>Letters, with the marks that are of the word, and digits of the folded text; everything else parts words; placeholders are nothing.</summary>
    internal static string Words(string? text)
    {
        var words = Written(text);
        return words is "unknown" or "na" or "n a" or "none" or "null" or "test" or "tbd" or "anonymous" or "unbekannt" or "xxx" or "x" ? "" : words;
    }

    /// <summary>As <see cref="Words"/>; what stands for "not known" is a word here.</summary>
    private static string Written(string? text)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            return "";
        }

        var folded = MatchFolding.Fold(text);
        var words = new StringBuilder(folded.Length + 2);
        foreach (var c in folded)
        {
            switch (c)
            {
                case 'ß': words.Append("ss"); break;
                case 'æ': words.Append("ae"); break;
                case 'œ': words.Append("oe"); break;
                case 'ø': words.Append('o'); break;
                case 'ł': words.Append('l'); break;
                case 'đ' or 'ð': words.Append('d'); break;
                case 'ı': words.Append('i'); break;
                case '\'' or '’' or '`' or '´' or '.': break;
                default:
                    if (char.IsLetterOrDigit(c) || char.IsSurrogate(c) || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark)
                    {
                        words.Append(c);
                    }
                    else if (words.Length > 0 && words[^1] != ' ')
                    {
                        words.Append(' ');
                    }

                    break;
            }
        }

        return words.ToString().TrimEnd();
    }

    /// <summary>Of a whole name in the given name's field the last word is the family's.</summary>
    private static (string Given, string Family) Parted(string given, string family) =>
        family.Length == 0 && given.LastIndexOf(' ') is > 0 and var cut ? (given[..cut], given[(cut + 1)..]) : (given, family);

    private static string Digits(string phone) => string.Concat(phone.Where(char.IsAsciiDigit));

    private static bool IsOneDigit(string digits) => digits.AsSpan(1).IndexOfAnyExcept(digits[^1]) < 0;

    private static string[] Distinct(IEnumerable<string> values) => [.. values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
}

/// <summary>An address taken apart: house number, street, a second line, place.</summary>
internal sealed class NormalAddress
{
    /// <summary>Words that the world abbreviates in its own ways; what a street is called stays.</summary>
    private static readonly Dictionary<string, string> Abbreviations = new(StringComparer.Ordinal)
    {
        ["street"] = "st", ["str"] = "st", ["strasse"] = "st", ["straat"] = "st", ["road"] = "rd", ["avenue"] = "ave", ["av"] = "ave",
        ["boulevard"] = "blvd", ["blv"] = "blvd", ["boul"] = "blvd", ["drive"] = "dr", ["place"] = "pl", ["plaza"] = "pl", ["platz"] = "pl", ["square"] = "sq",
        ["court"] = "ct", ["crt"] = "ct", ["crescent"] = "cres", ["lane"] = "ln", ["terrace"] = "tce", ["ter"] = "tce", ["circuit"] = "cct", ["close"] = "cl", ["parade"] = "pde",
        ["highway"] = "hwy", ["parkway"] = "pkwy", ["circle"] = "cir", ["suite"] = "ste", ["floor"] = "fl", ["apartment"] = "apt", ["building"] = "bldg", ["saint"] = "st",
        ["north"] = "n", ["south"] = "s", ["east"] = "e", ["west"] = "w", ["mount"] = "mt", ["fort"] = "ft", ["weg"] = "weg",
        ["first"] = "1st", ["second"] = "2nd", ["third"] = "3rd", ["fourth"] = "4th", ["fifth"] = "5th", ["sixth"] = "6th", ["seventh"] = "7th", ["eighth"] = "8th", ["ninth"] = "9th", ["tenth"] = "10th",
    };

    /// <summary>The words that name no street by themselves.</summary>
    private static readonly HashSet<string> Types = new(StringComparer.Ordinal)
    {
        "st", "rd", "ave", "blvd", "dr", "pl", "sq", "ct", "cres", "ln", "tce", "cct", "cl", "pde", "hwy", "pkwy", "cir", "n", "s", "e", "w", "no", "nr", "of", "the", "at",
        "ste", "fl", "apt", "bldg", "way", "unit", "rue", "via", "calle",
    };

    private NormalAddress(MatchAddress address)
    {
        var lines = address.Lines.Select(MatchRecord.Words).Where(l => l.Length > 0).ToList();
        (Number, Street) = lines.Count > 0 ? Split(lines[0]) : ("", "");
        var building = "";
        if (lines.Count > 1 && Number.Length == 0 && Split(lines[1]) is { Number.Length: > 0, Street.Length: > 0 } second)
        {
            // The street stands in the second line, after a building or a company.
            (Number, building, Street) = (second.Number, Street, second.Street);
            lines.RemoveAt(1);
        }

        Second = lines.Count > 1 ? Compact(lines[1]) : building;
        City = Compact(MatchRecord.Words(address.City));
        PostalCode = Compact(MatchRecord.Words(address.PostalCode));
    }

    internal NormalAddress(string number, string street, string second, string city, string postalCode) =>
        (Number, Street, Second, City, PostalCode) = (number, street, second, city, postalCode);

    public string Number { get; }

    /// <summary>The street's own words without blanks, types such as "road" left out.</summary>
    public string Street { get; }

    public string Second { get; }
    public string City { get; }
    public string PostalCode { get; }
    public bool IsEmpty => Number.Length + Street.Length + Second.Length + City.Length + PostalCode.Length == 0;

    public static NormalAddress Of(MatchAddress address) => new(address);

    private static (string Number, string Street) Split(string line)
    {
        var words = line.Split(' ');
        var number = words.Length > 1 && IsNumber(words[0]) ? 0 : Array.FindLastIndex(words, IsNumber);
        for (var i = 0; i < words.Length; i++)
        {
            words[i] = Abbreviations.GetValueOrDefault(words[i], words[i]);
            if (words[i].Length > 6 && i != number)
            {
                words[i] = Shorten(words[i]);
            }
        }

        var street = string.Concat(words.Where((w, i) => i != number && !Types.Contains(w)));
        if (street.Length == 0)
        {
            street = string.Concat(words.Where((_, i) => i != number));
        }

        return (number < 0 ? "" : words[number].TrimStart('0'), street);
    }

    /// <summary>German and Dutch write the type into the word: "hauptstrasse", "haupt str.".</summary>
    private static string Shorten(string word)
    {
        foreach (var ending in (ReadOnlySpan<string>)["strasse", "straat", "str"])
        {
            if (word.EndsWith(ending, StringComparison.Ordinal))
            {
                return word[..^ending.Length];
            }
        }

        return word;
    }

    private static bool IsNumber(string word) =>
        word.Length <= 6 && char.IsAsciiDigit(word[0]) && word.Count(char.IsAsciiLetter) <= 1 && !Ordinal(word);

    private static bool Ordinal(string word) => word.Length > 2 && word[^2..] is "st" or "nd" or "rd" or "th";

    private static string Compact(string words) => words.Replace(" ", "", StringComparison.Ordinal);
}
