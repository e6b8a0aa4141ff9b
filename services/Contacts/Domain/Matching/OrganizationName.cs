using System.Collections.Frozen;

namespace Crm.Contacts.Domain.Matching;

/// <summary>Names of organisations: words without legal forms, compared by soft TF-IDF.</summary>
internal static class OrganizationName
{
    /// <summary>Words count as the same from this Jaro-Winkler similarity on (theta of Cohen, Ravikumar and Fienberg).</summary>
    private const double SameWord = 0.9;

    private static readonly FrozenSet<string> LegalForms = FrozenSet.ToFrozenSet(
        [
            "inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc", "llp", "lp", "plc", "pty", "pte", "pvt", "gmbh", "mbh", "ag", "kg", "kgaa", "ohg", "gbr", "ug", "ev", "eg", "se",
            "sa", "sas", "sarl", "eurl", "sca", "srl", "spa", "snc", "sl", "slu", "bv", "nv", "vof", "cv", "ab", "as", "asa", "oy", "oyj", "aps", "kk", "kft", "zrt", "doo", "dd", "sro", "spol", "ooo", "oao", "zao",
            "ltda", "sab", "holding", "holdings", "group", "gruppe", "groupe",
        ],
        StringComparer.Ordinal);

    private static readonly FrozenSet<string> Fillers = FrozenSet.ToFrozenSet(["the", "and", "und", "et", "of", "der", "die", "das", "le", "la", "les", "de", "du", "des", "y", "e", "a", "an"], StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> Abbreviations = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["intl"] = "international", ["int"] = "international", ["tech"] = "technology", ["technologies"] = "technology", ["svc"] = "service", ["svcs"] = "service", ["services"] = "service", ["mfg"] = "manufacturing",
        ["bros"] = "brothers", ["assoc"] = "associates", ["univ"] = "university", ["dept"] = "department", ["natl"] = "national", ["mgmt"] = "management", ["sys"] = "systems", ["solution"] = "solutions",
        ["ctr"] = "center", ["centre"] = "center", ["st"] = "saint",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> ShortForms = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["limited"] = "ltd", ["incorporated"] = "inc", ["corporation"] = "corp", ["company"] = "co", ["holdings"] = "holding", ["gruppe"] = "group", ["groupe"] = "group",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The words that tell organisations apart; legal forms and fillers only when nothing else is left.</summary>
    public static string[] Tokens(string? name)
    {
        var words = MatchRecord.Words(name).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var telling = words.Where((w, i) => !Fillers.Contains(w) && !IsLegalForm(w, i)).Select(w => Abbreviations.GetValueOrDefault(w, w)).ToArray();
        return telling.Length > 0 ? telling : words;
    }

    /// <summary>The legal form, such as "gmbh co kg"; what is written out is shortened. Empty where the name says none.</summary>
    public static string LegalForm(string? name) => string.Join(
        ' ', MatchRecord.Words(name).Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(IsLegalForm).Select(w => ShortForms.GetValueOrDefault(w, w)));

    /// <summary>Two names that differ in case, accents and punctuation at most; "Acme GmbH" and "Acme Ltd" are two.</summary>
    public static bool IsSame(string? a, string? b) => MatchRecord.Words(a) is { Length: > 0 } words && words == MatchRecord.Words(b);

    /// <summary>
    /// Soft TF-IDF, 0 to 1 (Cohen, Ravikumar and Fienberg 2003, "A comparison of string metrics for matching names and
    /// records"): the cosine of the two names weighed by how rare their words are, where words that are nearly the same
    /// count by their Jaro-Winkler similarity.
    /// </summary>
    public static double Similarity(string[] a, string[] b, Func<string, double> weight)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return 0;
        }

        if (a.Length > b.Length)
        {
            (a, b) = (b, a);
        }

        double sum = 0, normA = 0, normB = 0;
        foreach (var word in b)
        {
            var w = weight(word);
            normB += w * w;
        }

        foreach (var word in a)
        {
            var w = weight(word);
            normA += w * w;
            var (best, at) = (0.0, -1);
            for (var j = 0; j < b.Length; j++)
            {
                var similarity = word == b[j] ? 1 : StringDistance.JaroWinkler(word, b[j]);
                if (similarity > best)
                {
                    (best, at) = (similarity, j);
                }
            }

            if (best >= SameWord)
            {
                sum += w * weight(b[at]) * best;
            }
        }

        return sum / Math.Sqrt(normA * normB);
    }

    /// <param name="position">Of the word in the name: what a name begins with is no legal form.</param>
    private static bool IsLegalForm(string word, int position) => position > 0 && LegalForms.Contains(word);
}
