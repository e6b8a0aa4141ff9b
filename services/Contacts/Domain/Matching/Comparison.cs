namespace Crm.Contacts.Domain.Matching;

/// <summary>What is compared; fields that depend on one another, such as street, city and postal code, are one.</summary>
public enum MatchField
{
    GivenName,
    FamilyName,
    BirthDate,
    Address,
    Email,
    Phone,
    ExternalId,
    OrganizationName,
}

/// <summary>
/// Compares two records field by field into levels of agreement. The vector is eight bytes, one for each
/// <see cref="MatchField"/>; 0 is "missing in one of the two", which is evidence for nothing.
/// </summary>
internal static class Comparison
{
    public const int Fields = 8;
    public const byte Missing = 0;

    /// <summary>The level of every field on which the two are unlike.</summary>
    public const byte Different = 1;

    /// <summary>Level of the given name when both names agree in the other order.</summary>
    public const byte SwappedGiven = 7;

    /// <summary>Level of the given name when one of the names is the other record's other name.</summary>
    public const byte CrossedGiven = 8;

    /// <summary>Levels of a place, the inner digit of an address level.</summary>
    public const int Places = 5;

    public const int Streets = 7;

    private const double Close = 0.92;
    private const double Near = 0.84;

    /// <summary>Names of the levels, weakest agreement first after "missing"; what explanations show.</summary>
    public static readonly IReadOnlyList<IReadOnlyList<string>> Levels =
    [
        ["missing", "different", "initial", "near", "close", "variant", "exact", "swapped", "crossed"],
        ["missing", "different", "near", "close", "part", "exact"],
        ["missing", "different", "two_parts", "one_error", "exact"],
        [.. Enumerable.Range(0, Streets * Places).Select(AddressLevel)],
        ["missing", "different", "similar", "same_mailbox", "exact"],
        ["missing", "different", "one_error", "exact"],
        ["missing", "different", "one_error", "exact"],
        ["missing", "different", "some_words", "many_words", "most_words", "nearly_all", "exact"],
    ];

    public static byte Level(ulong vector, MatchField field) => (byte)(vector >> ((int)field * 8));

    /// <summary>The vector of agreement of two records of one kind.</summary>
    public static ulong Compare(MatchRecord a, MatchRecord b, Func<string, double> wordWeight)
    {
        var (given, family) = a.Organization ? (Missing, Missing) : Names(a, b);
        return given
            | ((ulong)family << 8)
            | ((ulong)BirthDates(a.BirthDate, b.BirthDate) << 16)
            | ((ulong)Addresses(a.Addresses, b.Addresses) << 24)
            | ((ulong)Emails(a.Emails, b.Emails) << 32)
            | ((ulong)Phones(a.Phones, b.Phones) << 40)
            | ((ulong)Ids(a.ExternalIds, b.ExternalIds) << 48)
            | ((ulong)(a.Organization ? OrganizationNames(a, b, wordWeight) : Missing) << 56);
    }

    private static (byte Given, byte Family) Names(MatchRecord a, MatchRecord b)
    {
        var given = Given(a.Given, b.Given);
        var family = Family(a, b);
        if (given > 3 || family > 2)
        {
            return (given, family);
        }

        // One piece of evidence, not two.
        return (Alike(a.Given, b.Family), Alike(a.Family, b.Given)) switch
        {
            (true, true) => (SwappedGiven, Missing),
            (true, _) or (_, true) => (CrossedGiven, Missing),
            _ => (given, family),
        };
    }

    private static bool Alike(string a, string b) => (a == b && a.Length > 1) || (a.Length > 3 && b.Length > 3 && StringDistance.JaroWinkler(a, b) >= Close);

    private static byte Given(string a, string b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return Missing;
        }

        if (a == b)
        {
            return 6;
        }

        if (IsInitial(a) || IsInitial(b))
        {
            return a[0] == b[0] ? (byte)2 : Different;
        }

        if (IsPart(a, b) || Nicknames.Same(a, b))
        {
            return 5;
        }

        return Graded(a, b) is > Different and var level ? (byte)(level + 1) : Different;
    }

    /// <summary>A letter of an alphabet: in Chinese, Japanese and Korean one character may be the whole name.</summary>
    private static bool IsInitial(string given) => given.Length == 1 && given[0] < '\u1100';

    private static byte Family(MatchRecord a, MatchRecord b)
    {
        if (a.Family.Length == 0 || b.Family.Length == 0)
        {
            return Missing;
        }

        if (a.FamilyCompact == b.FamilyCompact)
        {
            return 5;
        }

        return IsPart(a.Family, b.Family) ? (byte)4 : Graded(a.FamilyCompact, b.FamilyCompact);
    }

    private static byte Graded(string a, string b)
    {
        if (Math.Min(a.Length, b.Length) >= 4 && StringDistance.WithinOneEdit(a, b))
        {
            return 3;
        }

        var similarity = StringDistance.JaroWinkler(a, b);
        return similarity >= Close ? (byte)3 : similarity >= Near ? (byte)2 : Different;
    }

    /// <summary>One's words are among the other's: "anna" and "anna maria", "smith" and "smith jones".</summary>
    private static bool IsPart(string a, string b)
    {
        if (a.Length > b.Length)
        {
            (a, b) = (b, a);
        }

        if (a.Length < 2 || !b.Contains(' ', StringComparison.Ordinal))
        {
            return false;
        }

        var at = b.IndexOf(a, StringComparison.Ordinal);
        return at >= 0 && (at == 0 || b[at - 1] == ' ') && (at + a.Length == b.Length || b[at + a.Length] == ' ');
    }

    private static byte BirthDates(string a, string b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return Missing;
        }

        var (wrong, first, last) = (0, -1, -1);
        for (var i = 0; i < 8; i++)
        {
            if (a[i] != b[i])
            {
                wrong++;
                first = first < 0 ? i : first;
                last = i;
            }
        }

        if (wrong == 0)
        {
            return 4;
        }

        if (wrong == 1 || (wrong == 2 && last == first + 1 && a[first] == b[last] && a[last] == b[first]))
        {
            return 3;
        }

        var (year, month, day) = (first >= 4, a.AsSpan(4, 2).SequenceEqual(b.AsSpan(4, 2)), a.AsSpan(6, 2).SequenceEqual(b.AsSpan(6, 2)));
        if (year && a.AsSpan(4, 2).SequenceEqual(b.AsSpan(6, 2)) && a.AsSpan(6, 2).SequenceEqual(b.AsSpan(4, 2)))
        {
            return 3;
        }

        return (year && (month || day)) || (month && day) ? (byte)2 : Different;
    }

    private static byte Addresses(NormalAddress[] a, NormalAddress[] b)
    {
        byte best = Missing;
        foreach (var left in a)
        {
            foreach (var right in b)
            {
                best = Math.Max(best, (byte)((Street(left, right) * Places) + Place(left, right)));
            }
        }

        return best;
    }

    /// <summary>0 missing, 1 different, 2 number or a part alike, 3 alike, 4 same street and other number, 5 same street, 6 same street and number.</summary>
    private static int Street(NormalAddress a, NormalAddress b)
    {
        if (a.Street.Length + a.Second.Length == 0 || b.Street.Length + b.Second.Length == 0)
        {
            return 0;
        }

        var number = a.Number.Length == 0 || b.Number.Length == 0 ? 0 : a.Number == b.Number ? 1 : -1;
        var street = a.Street.Length == 0 || b.Street.Length == 0 ? 0.5 : Likeness(a.Street, b.Street);
        var second = a.Second.Length > 2 && b.Second.Length > 2 ? Likeness(a.Second, b.Second) : 0;
        if (street < Close && second < Close && a.Second.Length > 2 | b.Second.Length > 2)
        {
            // The lines may stand in the other order.
            street = Math.Max(street, Math.Max(Crossed(a.Second, b.Street), Crossed(a.Street, b.Second)));
        }

        return (street, second, number) switch
        {
            ( >= Close, _, 1) => 6,
            ( >= Close, >= Close, _) => 6,
            ( >= Close, _, 0) => 5,
            (_, >= Close, 1) => 5,
            ( >= Close, _, -1) => 4,
            ( >= Near, _, 1) => 4,
            (_, >= Close, _) => 3,
            ( >= Near, _, 0) => 3,
            ( >= Near, _, _) => 2,
            (_, _, 1) => 2,
            _ => 1,
        };
    }

    private static double Crossed(string a, string b) => a.Length > 3 && b.Length > 3 ? Likeness(a, b) : 0;

    private static double Likeness(string a, string b) =>
        a == b || (Math.Min(a.Length, b.Length) >= 4 && StringDistance.WithinOneEdit(a, b)) ? 1 : StringDistance.JaroWinkler(a, b);

    /// <summary>0 missing, 1 different, 2 city, 3 postal code, 4 both or the one that both have.</summary>
    private static int Place(NormalAddress a, NormalAddress b)
    {
        var city = a.City.Length == 0 || b.City.Length == 0 ? 0 : Likeness(a.City, b.City) >= Close ? 1 : -1;
        var postal = a.PostalCode.Length == 0 || b.PostalCode.Length == 0 ? 0
            : a.PostalCode == b.PostalCode ? 1
            : city == 1 && a.PostalCode.Length >= 4 && StringDistance.WithinOneEdit(a.PostalCode, b.PostalCode) ? 1 : -1;
        return (city, postal) switch
        {
            (0, 0) => 0,
            (1, 1) => 4,
            (0, 1) => 3,
            (-1, 1) => 3,
            (1, 0) => 3,
            (1, -1) => 2,
            _ => 1,
        };
    }

    private static byte Emails(string[] a, string[] b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return Missing;
        }

        var best = Different;
        foreach (var left in a)
        {
            foreach (var right in b)
            {
                if (left == right)
                {
                    return 4;
                }

                var at = left.IndexOf('@', StringComparison.Ordinal);
                if (at >= 6 && right.Length > at && right[at] == '@' && left.AsSpan(0, at).SequenceEqual(right.AsSpan(0, at)))
                {
                    best = 3;
                }
                else if (best < 2 && left.Length >= 10 && StringDistance.WithinOneEdit(left, right))
                {
                    best = 2;
                }
            }
        }

        return best;
    }

    private static byte Phones(string[] a, string[] b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return Missing;
        }

        var best = Different;
        foreach (var left in a)
        {
            foreach (var right in b)
            {
                if (left == right)
                {
                    return 3;
                }

                // Without the country's or the network's code; or an error, but a colleague's extension too.
                if ((left.Length > 8 && right.Length > 8 && left.AsSpan(left.Length - 8).SequenceEqual(right.AsSpan(right.Length - 8))) || StringDistance.WithinOneEdit(left, right))
                {
                    best = 2;
                }
            }
        }

        return best;
    }

    private static byte Ids((string System, string Value)[] a, (string System, string Value)[] b)
    {
        var best = Missing;
        foreach (var (system, value) in a)
        {
            foreach (var (otherSystem, otherValue) in b)
            {
                if (system == otherSystem)
                {
                    var level = value == otherValue ? (byte)3 : value.Length >= 6 && StringDistance.WithinOneEdit(value, otherValue) ? (byte)2 : Different;
                    best = Math.Max(best, level);
                }
            }
        }

        return best;
    }

    private static byte OrganizationNames(MatchRecord a, MatchRecord b, Func<string, double> wordWeight)
    {
        if (a.NameTokens.Length == 0 || b.NameTokens.Length == 0)
        {
            return Missing;
        }

        if (a.Name == b.Name)
        {
            return 6;
        }

        return OrganizationName.Similarity(a.NameTokens, b.NameTokens, wordWeight) switch
        {
            >= 0.93 => 5,
            >= 0.8 => 4,
            >= 0.6 => 3,
            >= 0.35 => 2,
            _ => Different,
        };
    }

    private static string AddressLevel(int level)
    {
        string[] streets = ["street_missing", "street_different", "street_partly", "street_near", "street_other_number", "street", "street_and_number"];
        string[] places = ["place_missing", "place_different", "city", "postal_code", "place"];
        return level == 0 ? "missing" : $"{streets[level / Places]}+{places[level % Places]}";
    }
}
