using System.Runtime.CompilerServices;

namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// The keys under which a record is looked for; only records with a key in common are compared. Several passes, each
/// blind to another kind of error (Christen 2012, "A survey of indexing techniques for scalable record linkage and
/// deduplication"). Keys are stored: what makes one must not change without new ones for all.
/// </summary>
internal static class BlockingKeys
{
    /// <summary>
    /// Raised when keys of the same record differ from those of an earlier build; a migration then puts the customers concerned
    /// into outdated_match_keys.
    /// </summary>
    public const int Version = 2;

    /// <summary>The record's keys, sorted and without repetition.</summary>
    public static long[] Of(MatchRecord record)
    {
        var keys = new KeySet();
        if (record.Organization)
        {
            OfOrganization(record, ref keys);
        }
        else
        {
            OfPerson(record, ref keys);
        }

        foreach (var email in record.Emails)
        {
            keys.Add("email", email);
            if (email.IndexOf('@', StringComparison.Ordinal) is >= 6 and var at)
            {
                keys.Add("mailbox", email.AsSpan(0, at));
            }
        }

        foreach (var phone in record.Phones)
        {
            keys.Add("phone", phone.AsSpan(Math.Max(0, phone.Length - 8)));
        }

        foreach (var (system, value) in record.ExternalIds)
        {
            keys.Add("id", system, value);
        }

        return keys.ToSortedArray();
    }

    /// <summary>Keys that two records have in common whose names sound alike; never none for one that has a name.</summary>
    public static long[] OfNames(MatchRecord record)
    {
        var keys = new KeySet();
        if (record.Organization)
        {
            AddName(record, ref keys);
        }
        else if (record.Given.Length > 0 && record.Family.Length > 0)
        {
            AddNames(record, ref keys);
        }
        else
        {
            keys.Add("only name", Sound(record.Given + record.FamilyCompact));
        }

        return keys.ToSortedArray();
    }

    private static void OfPerson(MatchRecord record, ref KeySet keys)
    {
        var given = First(record.Given);
        var givenSound = GivenSound(given);
        var familySound = Sound(record.FamilyCompact);
        var birth = record.BirthDate;
        AddNames(record, ref keys);
        if (birth.Length > 0)
        {
            if (given.Length > 0)
            {
                keys.Add("birth+initial", birth, given.AsSpan(0, 1));
                keys.Add("given+year+month", given, birth.AsSpan(0, 6));
                keys.Add("given+month+day", given, birth.AsSpan(4));
            }

            if (record.Family.Length > 0)
            {
                keys.Add("birth+initial", birth, record.Family.AsSpan(0, 1));
                keys.Add("family+year", familySound, birth.AsSpan(0, 4));
            }

            if (given.Length == 0 && record.Family.Length == 0)
            {
                keys.Add("birth", birth);
            }
        }

        foreach (var address in record.Addresses)
        {
            OfAddress(address, ref keys);
            var place = address.PostalCode.Length > 0 ? address.PostalCode : address.City;
            if (place.Length > 0)
            {
                keys.Add("place+name", place, familySound);
                keys.Add("place+name", place, givenSound);
            }

            if (address.City.Length > 0 && address.PostalCode.Length > 0)
            {
                keys.Add("place+name", address.City, familySound);
            }

            if (address.Number.Length > 0)
            {
                keys.Add("number+name", address.Number, familySound);
                keys.Add("number+name", address.Number, givenSound);
            }

            if (address.Street.Length > 3)
            {
                keys.Add("street+initial", address.Street, record.Family.AsSpan(0, Math.Min(1, record.Family.Length)));
                keys.Add("street+initial", address.Street, given.AsSpan(0, Math.Min(1, given.Length)));
            }
        }
    }

    private static void OfOrganization(MatchRecord record, ref KeySet keys)
    {
        foreach (var token in record.NameTokens)
        {
            if (token.Length > 1)
            {
                keys.Add("word", token);
            }
        }

        AddName(record, ref keys);
        foreach (var address in record.Addresses)
        {
            OfAddress(address, ref keys);
            if (address.City.Length > 0 && record.NameTokens.Length > 0)
            {
                keys.Add("city+word", address.City, Sound(record.NameTokens[0]));
            }
        }
    }

    /// <summary>Given and family name by sound, in either order: the two fields are often swapped.</summary>
    private static void AddNames(MatchRecord record, ref KeySet keys)
    {
        var given = First(record.Given);
        var familySound = Sound(record.FamilyCompact);
        if (given.Length == 0 || familySound.Length == 0)
        {
            return;
        }

        var (plain, nickname) = (Sound(given), GivenSound(given));
        keys.AddPair("names", plain, familySound);
        if (nickname != plain)
        {
            keys.AddPair("names", nickname, familySound);
        }
    }

    private static void AddName(MatchRecord record, ref KeySet keys)
    {
        var compact = string.Concat(record.NameTokens);
        keys.Add("name", compact.AsSpan(0, Math.Min(6, compact.Length)));
    }

    private static string GivenSound(string given) => Nicknames.Canonical(given) is ['=', ..] canonical ? canonical : Sound(given);

    private static void OfAddress(NormalAddress address, ref KeySet keys)
    {
        if (address.Number.Length > 0)
        {
            keys.Add("place+number", address.PostalCode.Length > 0 ? address.PostalCode : address.City, address.Number);
            if (address.City.Length > 0 && address.PostalCode.Length > 0)
            {
                keys.Add("place+number", address.City, address.Number);
            }

            if (address.Street.Length > 0)
            {
                keys.Add("street+number", address.Street.AsSpan(0, Math.Min(5, address.Street.Length)), address.Number);
            }
        }

        if (address.Street.Length > 3)
        {
            keys.Add("street+place", address.Street.AsSpan(0, 4), address.PostalCode.Length > 0 ? address.PostalCode : address.City);
            if (address.City.Length > 0 && address.PostalCode.Length > 0)
            {
                keys.Add("street+place", address.Street.AsSpan(0, 4), address.City);
            }
        }

        if (address.Second.Length > 4)
        {
            keys.Add("second", address.Second);
        }
    }

    private static string First(string words) => words.IndexOf(' ', StringComparison.Ordinal) is > 0 and var end ? words[..end] : words;

    /// <summary>Soundex, or the text itself where no Latin letter is in it.</summary>
    private static string Sound(string text) => StringDistance.Soundex(text) is { Length: > 0 } code ? code : text;

    /// <summary>A few dozen numbers without a heap of their own.</summary>
    private ref struct KeySet()
    {
        private readonly List<long> keys = new(16);

        public readonly void Add(string pass, ReadOnlySpan<char> a, ReadOnlySpan<char> b = default, ReadOnlySpan<char> c = default)
        {
            if (a.Length > 0)
            {
                keys.Add(Hash(pass, a, b, c));
            }
        }

        public readonly void AddPair(string pass, string a, string b)
        {
            var ordered = string.CompareOrdinal(a, b) <= 0;
            Add(pass, ordered ? a : b, ordered ? b : a);
        }

        public readonly long[] ToSortedArray()
        {
            keys.Sort();
            return [.. keys.Distinct()];
        }
    }

    /// <summary>FNV-1a over the parts with a mark between them, its bits mixed once more (the last step of MurmurHash3).</summary>
    private static long Hash(string pass, ReadOnlySpan<char> a, ReadOnlySpan<char> b, ReadOnlySpan<char> c)
    {
        var hash = 14695981039346656037UL;
        Take(ref hash, pass);
        Take(ref hash, a);
        Take(ref hash, b);
        Take(ref hash, c);
        hash ^= hash >> 33;
        hash *= 0xff51afd7ed558ccdUL;
        hash ^= hash >> 33;
        return unchecked((long)hash);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Take(ref ulong hash, ReadOnlySpan<char> text)
        {
            foreach (var letter in text)
            {
                hash = (hash ^ letter) * 1099511628211UL;
            }

            hash = (hash ^ 0x1f) * 1099511628211UL;
        }
    }
}
