using System.Globalization;
using Bogus;
using Crm.Contacts.Domain.Matching;

namespace Crm.Runner.Bench;

/// <summary>
/// People of whom some are recorded twice, made from a seed. They live in households: family name, street and often phone and
/// e-mail are shared by people who are not one. Names are as uneven as real ones (Zipf), much is missing, and a second record
/// differs as second records do: typing errors, nicknames' endings, a move, a marriage, names swapped.
/// </summary>
internal sealed class SyntheticPopulation(int seed)
{
    private static readonly string[] Locales = ["en", "de", "fr", "nl", "it", "es", "pl", "sv", "cz", "pt_BR", "tr", "nb_NO"];
    private static readonly string[] Endings = ["", "", "", "s", "er", "mann", "son", "ski", "ini", "ova", "feld", "berg", "ley", "ton", "man", "sen"];

    private readonly Random random = new(seed);
    private readonly string[] given = Names(name => name.FirstName());
    private readonly string[] family = [.. Names(name => name.LastName()).SelectMany((name, i) => Endings.Where((_, e) => e < 3 ? e == 0 : (i + e) % 3 == 0).Select(e => name + e)).Distinct(StringComparer.Ordinal)];
    private readonly string[] streets = [.. Names(name => name.LastName()).SelectMany(name => (string[])[$"{name} Road", $"{name} Street", $"{name}weg"])];
    private long people;

    /// <summary>People who were recorded at least once.</summary>
    public List<MatchFields> Originals { get; } = [];

    /// <summary>New people with one record each, household after household.</summary>
    public IEnumerable<MatchFields> People(int count)
    {
        while (count > 0)
        {
            var members = Math.Min(count, random.NextDouble() switch { < 0.35 => 1, < 0.7 => 2, < 0.85 => 3, _ => 4 });
            count -= members;
            var name = Pick(family);
            var town = random.Next(8000);
            var address = new MatchAddress([$"{random.Next(1, 180)} {Pick(streets)}"], $"Town {family[town % family.Length]}", (10000 + town).ToString(CultureInfo.InvariantCulture), "DE");
            var phone = NewPhone();
            var mailbox = NewMail(name);
            var twins = members > 2 && random.NextDouble() < 0.03 ? NewBirth(1985, 2020) : null;
            for (var i = 0; i < members; i++)
            {
                var own = Pick(given);
                var person = new MatchFields
                {
                    Id = NewId(),
                    GivenName = own,
                    FamilyName = random.NextDouble() < 0.92 ? name : Pick(family),
                    BirthDate = random.NextDouble() < 0.6 ? (i > 0 ? twins : null) ?? NewBirth(1935, 2005) : null,
                    Addresses = random.NextDouble() < 0.8 ? [address] : [],
                    Phones = random.NextDouble() < 0.65 ? [random.NextDouble() < 0.4 ? phone : NewPhone()] : [],
                    Emails = random.NextDouble() < 0.75 ? [random.NextDouble() < 0.15 ? mailbox : NewMail($"{own}.{name}")] : [],
                };
                Originals.Add(person);
                yield return person;
            }
        }
    }

    /// <summary>Second records of people who are there.</summary>
    public IEnumerable<(Guid Original, MatchFields Copy)> Copies(int count)
    {
        for (var i = 0; i < count; i++)
        {
            var one = Originals[random.Next(Originals.Count)];
            var moved = random.NextDouble() < 0.15;
            var copy = one with
            {
                Id = NewId(),
                GivenName = random.NextDouble() < 0.15 ? Typo(one.GivenName!) : random.NextDouble() < 0.04 ? one.GivenName![..1] : one.GivenName,
                FamilyName = random.NextDouble() < 0.05 ? Pick(family) : random.NextDouble() < 0.15 ? Typo(one.FamilyName!) : one.FamilyName,
                BirthDate = one.BirthDate is null ? (random.NextDouble() < 0.2 ? NewBirth(1935, 2005) : null) : random.NextDouble() < 0.25 ? null : random.NextDouble() < 0.05 ? WrongDay(one.BirthDate) : one.BirthDate,
                Addresses = one.Addresses.Count == 0 || random.NextDouble() < 0.15 ? [] : [moved ? Elsewhere(one.Addresses[0]) : Retyped(one.Addresses[0])],
                Phones = one.Phones.Count == 0 || random.NextDouble() < 0.3 ? [] : [random.NextDouble() < 0.2 ? NewPhone() : one.Phones[0]],
                Emails = one.Emails.Count == 0 || random.NextDouble() < 0.3 ? [] : [random.NextDouble() < 0.35 ? NewMail(one.FamilyName!) : one.Emails[0]],
            };
            yield return (one.Id, random.NextDouble() < 0.02 ? copy with { GivenName = copy.FamilyName, FamilyName = copy.GivenName } : copy);
        }
    }

    private static string[] Names(Func<Bogus.DataSets.Name, string> draw)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var locale in Locales)
        {
            var set = new Bogus.DataSets.Name(locale) { Random = new Randomizer(7) };
            for (var i = 0; i < 20_000; i++)
            {
                names.Add(draw(set));
            }
        }

        // Some of the library's lists were decoded wrongly once.
        names.RemoveWhere(n => n.Contains('\uFFFD', StringComparison.Ordinal));
        // Which are frequent must not follow the alphabet.
        return [.. names.OrderBy(n => n.Aggregate(17L, (h, c) => (h * 31) + c) % 104_729).ThenBy(n => n, StringComparer.Ordinal)];
    }

    /// <summary>Zipf-Mandelbrot: of some ten thousand names the most frequent is one in three hundred's.</summary>
    private string Pick(string[] names)
    {
        const double Offset = 50;
        return names[Math.Min(names.Length - 1, (int)(Offset * (Math.Pow((names.Length / Offset) + 1, random.NextDouble()) - 1)))];
    }

    private string NewBirth(int from, int to) => new DateOnly(from, 1, 1).AddDays(random.Next((to - from) * 365)).ToString("yyyyMMdd", CultureInfo.InvariantCulture);

    private string NewPhone() => $"+49{random.NextInt64(1_000_000_000, 9_999_999_999)}";

    private string NewMail(string name) => $"{string.Concat(name.Where(char.IsAsciiLetter)).ToLowerInvariant()}.{++people}@{(random.Next(3) switch { 0 => "mail", 1 => "post", _ => "web" })}.example";

    private Guid NewId()
    {
        var bytes = new byte[16];
        random.NextBytes(bytes);
        return new(bytes);
    }

    private string Typo(string word)
    {
        if (word.Length < 3)
        {
            return word;
        }

        var at = random.Next(1, word.Length - 1);
        var letter = (char)('a' + random.Next(26));
        return random.Next(4) switch
        {
            0 => word.Remove(at, 1),
            1 => word.Insert(at, $"{letter}"),
            2 => $"{word[..at]}{letter}{word[(at + 1)..]}",
            _ => $"{word[..at]}{word[at + 1]}{word[at]}{word[(at + 2)..]}",
        };
    }

    /// <summary>Another day of the month, that every month has.</summary>
    private string WrongDay(string date) => $"{date[..6]}{random.Next(1, 29):00}";

    private MatchAddress Elsewhere(MatchAddress address) => address with { Lines = [$"{random.Next(1, 180)} {Pick(streets)}"], PostalCode = random.Next(10000, 18000).ToString(CultureInfo.InvariantCulture) };

    private MatchAddress Retyped(MatchAddress address) => random.NextDouble() < 0.1 ? address with { Lines = [Typo(address.Lines[0])] } : address with { Lines = [address.Lines[0].Replace("Street", "St", StringComparison.Ordinal)] };
}
