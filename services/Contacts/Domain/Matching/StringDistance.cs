namespace Crm.Contacts.Domain.Matching;

/// <summary>How alike two strings are; the measures of the record-linkage literature, on folded text.</summary>
internal static class StringDistance
{
    private const double PrefixScale = 0.1;
    private const int LongestPrefix = 4;

    /// <summary>
    /// Jaro similarity, 0 to 1 (Jaro 1989, "Advances in record-linkage methodology as applied to matching the 1985
    /// census of Tampa, Florida"): common characters within half the longer length, and half the transpositions.
    /// </summary>
    public static double Jaro(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return a.Length == b.Length ? 1 : 0;
        }

        var window = Math.Max(0, (Math.Max(a.Length, b.Length) / 2) - 1);
        Span<bool> usedA = a.Length <= 256 ? stackalloc bool[a.Length] : new bool[a.Length];
        Span<bool> usedB = b.Length <= 256 ? stackalloc bool[b.Length] : new bool[b.Length];
        usedA.Clear();
        usedB.Clear();
        var common = 0;
        for (var i = 0; i < a.Length; i++)
        {
            var last = Math.Min(b.Length - 1, i + window);
            for (var j = Math.Max(0, i - window); j <= last; j++)
            {
                if (a[i] == b[j] && !usedB[j])
                {
                    usedA[i] = usedB[j] = true;
                    common++;
                    break;
                }
            }
        }

        if (common == 0)
        {
            return 0;
        }

        var outOfOrder = 0;
        for (int i = 0, j = 0; i < a.Length; i++)
        {
            if (usedA[i])
            {
                while (!usedB[j])
                {
                    j++;
                }

                outOfOrder += a[i] == b[j++] ? 0 : 1;
            }
        }

        double m = common;
        return ((m / a.Length) + (m / b.Length) + ((m - (outOfOrder / 2)) / m)) / 3;
    }

    /// <summary>
    /// Jaro similarity raised for an equal beginning of up to four characters (Winkler 1990, "String comparator metrics
    /// and enhanced decision rules in the Fellegi-Sunter model of record linkage").
    /// </summary>
    public static double JaroWinkler(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        var jaro = Jaro(a, b);
        var prefix = Math.Min(LongestPrefix, a.CommonPrefixLength(b));
        return jaro + (prefix * PrefixScale * (1 - jaro));
    }

    /// <summary>
    /// True when one insertion, deletion, substitution or transposition of neighbours makes the one of the other
    /// (Damerau 1964: four of five misspellings are of this kind); equal strings too.
    /// </summary>
    public static bool WithinOneEdit(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        if (Math.Abs(a.Length - b.Length) > 1)
        {
            return false;
        }

        var start = a.CommonPrefixLength(b);
        a = a[start..];
        b = b[start..];
        if (a.Length == 0 || b.Length == 0)
        {
            return true;
        }

        if (a.Length == b.Length)
        {
            return a[1..].SequenceEqual(b[1..]) || (a.Length > 1 && a[0] == b[1] && a[1] == b[0] && a[2..].SequenceEqual(b[2..]));
        }

        return a.Length > b.Length ? a[1..].SequenceEqual(b) : a.SequenceEqual(b[1..]);
    }

    /// <summary>
    /// American Soundex as the census used it: a letter and three digits; h and w do not part equal codes, vowels do.
    /// Empty when there is no letter from a to z.
    /// </summary>
    public static string Soundex(ReadOnlySpan<char> text)
    {
        // a  b  c  d  e  f  g  h  i  j  k  l  m  n  o  p  q  r  s  t  u  v  w  x  y  z
        const string Codes = "01230120022455012623010202";
        Span<char> code = stackalloc char[4];
        var length = 0;
        var last = '0';
        foreach (var c in text)
        {
            var letter = (char)(c | 0x20);
            if (letter is < 'a' or > 'z')
            {
                continue;
            }

            var digit = Codes[letter - 'a'];
            if (length == 0)
            {
                code[length++] = (char)(letter - 32);
            }
            else if (digit != '0' && digit != last)
            {
                code[length++] = digit;
                if (length == 4)
                {
                    break;
                }
            }

            if (letter is not ('h' or 'w'))
            {
                last = digit;
            }
        }

        if (length == 0)
        {
            return "";
        }

        code[length..].Fill('0');
        return new string(code);
    }
}
