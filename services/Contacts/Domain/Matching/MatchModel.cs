namespace Crm.Contacts.Domain.Matching;

/// <summary>One field's part in a score.</summary>
/// <param name="Field">What was compared.</param>
/// <param name="Level">How far it agreed.</param>
/// <param name="Weight">In bits, with the adjustment for the value's frequency; positive speaks for one customer.</param>
/// <param name="M">How often customers that are the same agree so.</param>
/// <param name="U">How often two different customers do.</param>
/// <param name="FrequencyAdjustment">The part of the weight that comes from how rare this very value is, in bits.</param>
internal sealed record FieldWeight(MatchField Field, string Level, double Weight, double M, double U, double FrequencyAdjustment)
{
    /// <summary>It speaks for one customer.</summary>
    public bool Agrees => Weight > 0;
}

/// <summary>A pair's score: the sum of its weights in bits, and the probability that both are one customer.</summary>
internal sealed record MatchScore(double Weight, double Probability, IReadOnlyList<FieldWeight> Fields);

/// <summary>
/// How often values occur, for persons or for organisations; of addresses and contacts, with how many different names. The
/// values themselves are not in it, but what <see cref="KeyOf"/> makes of them: a stored model outlives whom it was made of.
/// </summary>
internal sealed class TermCounts
{
    /// <summary>The pseudo-count with which the average frequency stands beside a value's own.</summary>
    private const double Shrinkage = 50;

    private const int FewestThatCount = 3;

    public Dictionary<ulong, int> Given { get; init; } = [];
    public Dictionary<ulong, int> Family { get; init; } = [];
    public Dictionary<ulong, int> BirthDate { get; init; } = [];
    public Dictionary<ulong, int> Address { get; init; } = [];
    public Dictionary<ulong, int> Contact { get; init; } = [];
    public Dictionary<ulong, int> Word { get; init; } = [];
    public Dictionary<ulong, int> Name { get; init; } = [];

    private readonly HashSet<(ulong Value, ulong Owner)> owners = [];

    /// <summary>FNV-1a, its bits mixed as those of <see cref="BlockingKeys"/>. Models are stored: what makes a key must not change.</summary>
    public static ulong KeyOf(string value)
    {
        var hash = 14695981039346656037UL;
        foreach (var letter in value)
        {
            hash = (hash ^ letter) * 1099511628211UL;
        }

        hash ^= hash >> 33;
        hash *= 0xff51afd7ed558ccdUL;
        return hash ^ (hash >> 33);
    }

    public static int Occurrences(Dictionary<ulong, int> counts, string value) => counts.GetValueOrDefault(KeyOf(value));

    /// <summary>Addresses and contacts of fewer than three records are left out: <see cref="Frequency"/> makes no difference of them.</summary>
    public static TermCounts Of(IReadOnlyList<MatchRecord> records)
    {
        var occurrences = new RoughCounts(records.Count);
        foreach (var record in records)
        {
            foreach (var address in record.Addresses)
            {
                occurrences.Add(HashOf(address));
            }

            foreach (var contact in record.Emails.Concat(record.Phones))
            {
                occurrences.Add(contact.GetHashCode(StringComparison.Ordinal));
            }
        }

        var terms = new TermCounts();
        foreach (var record in records)
        {
            terms.Add(record, occurrences);
        }

        terms.owners.Clear();
        terms.owners.TrimExcess();
        return terms;
    }

    private void Add(MatchRecord record, RoughCounts occurrences)
    {
        // One person's two records at an address are one owner of it, as are a family's.
        var owner = record.Organization ? record.NameTokens.FirstOrDefault("") : StringDistance.Soundex(record.FamilyCompact);
        Count(Given, record.Given);
        Count(Family, record.FamilyCompact);
        Count(BirthDate, record.BirthDate);
        Count(Name, record.Name);
        foreach (var word in record.NameTokens.Distinct(StringComparer.Ordinal))
        {
            Count(Word, word);
        }

        foreach (var address in record.Addresses)
        {
            if (occurrences.MayBe(FewestThatCount, HashOf(address)))
            {
                CountOwner(Address, AddressTerm(address), owner);
            }
        }

        foreach (var contact in record.Emails.Concat(record.Phones))
        {
            if (occurrences.MayBe(FewestThatCount, contact.GetHashCode(StringComparison.Ordinal)))
            {
                CountOwner(Contact, contact, owner);
            }
        }
    }

    /// <summary>What remains once values that occur fewer than <paramref name="least"/> times are left out: they count as once.</summary>
    public TermCounts Frequent(int least)
    {
        return new()
        {
            Given = Keep(Given), Family = Keep(Family), BirthDate = Keep(BirthDate), Address = Keep(Address), Contact = Keep(Contact), Word = Keep(Word), Name = Keep(Name),
        };

        Dictionary<ulong, int> Keep(Dictionary<ulong, int> counts) => counts.Where(c => c.Value >= least).ToDictionary();
    }

    public static string AddressTerm(NormalAddress address) => address.Number.Length > 0 && address.Street.Length > 0 ? $"{address.Number} {address.Street}" : "";

    /// <summary>
    /// The chance that another record has this value too, the two at hand left out: its own frequency, drawn towards the
    /// average where there is little to go by.
    /// </summary>
    public static double Frequency(Dictionary<ulong, int> counts, string value, double average, long records) =>
        (Math.Max(0, Occurrences(counts, value) - 2) + (Shrinkage * average)) / (records + Shrinkage);

    private static int HashOf(NormalAddress address) => HashCode.Combine(address.Number, address.Street);

    private void CountOwner(Dictionary<ulong, int> counts, string value, string owner)
    {
        if (owners.Add((KeyOf(value), KeyOf(owner))))
        {
            Count(counts, value);
        }
    }

    private static void Count(Dictionary<ulong, int> counts, string value)
    {
        if (value.Length > 0)
        {
            System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(counts, KeyOf(value), out _)++;
        }
    }
}

/// <summary>
/// The Fellegi-Sunter model of one kind of customer (Fellegi and Sunter 1969, "A theory for record linkage"): for every
/// level of every field m, its probability among pairs that are one customer, and u, among pairs that are not. A pair's
/// weight is the sum of log2(m/u), made smaller for values that many have and larger for rare ones (Winkler 2000,
/// "Frequency-based matching in Fellegi-Sunter model of record linkage").
/// </summary>
internal sealed class MatchModel
{
    private const double MostFrequencyGain = 8;
    private const double MostFrequencyLoss = -12;
    private const int UsualBirthDate = 20;

    private readonly double[][] weights;
    private readonly Func<string, double> wordWeight;

    /// <param name="households">See <see cref="Households"/>.</param>
    public MatchModel(double[][] m, double[][] u, double matchesPerRecord, long records, TermCounts terms, bool households)
    {
        Households = households;
        M = m;
        U = u;
        MatchesPerRecord = matchesPerRecord;
        Records = records;
        Terms = terms;
        weights = Monotone(m, u);
        wordWeight = word => Math.Log((Records + 1.0) / Math.Max(1, TermCounts.Occurrences(Terms.Word, word))) + 0.1;
    }

    public double[][] M { get; }
    public double[][] U { get; }

    /// <summary>Expected number of pairs that are one customer, divided by the number of records.</summary>
    public double MatchesPerRecord { get; }

    /// <summary>Records that the model was made of.</summary>
    public long Records { get; }

    public TermCounts Terms { get; }

    /// <summary>People live together in these records: what agrees in a pair must speak of one person, not only of one household.</summary>
    public bool Households { get; }

    /// <summary>Log2 of the odds that two records picked at random are one customer; falls as the records grow.</summary>
    public double PriorWeight => PriorWeightOf(MatchesPerRecord, Records);

    /// <summary>Before anything is known: what linkage studies find on personal data, and few duplicates.</summary>
    public static MatchModel Default(bool organization, long records) =>
        new(DefaultParameters.M(organization), DefaultParameters.U(organization), DefaultParameters.MatchesPerRecord, records, new(), households: true);

    public MatchModel WithPrior(double matchesPerRecord) => new(M, U, matchesPerRecord, Records, Terms, Households);

    public ulong Compare(MatchRecord a, MatchRecord b) => Comparison.Compare(a, b, wordWeight);

    /// <summary>Bits of evidence, without the prior.</summary>
    public double Weight(MatchRecord a, MatchRecord b, ulong vector)
    {
        var sum = 0.0;
        for (var field = 0; field < Comparison.Fields; field++)
        {
            var level = (byte)(vector >> (field * 8));
            if (level != Comparison.Missing)
            {
                sum += weights[field][level] + FrequencyAdjustment((MatchField)field, level, a, b);
            }
        }

        return sum;
    }

    /// <summary>The same without the values' frequencies: of a vector alone, with some fields left out.</summary>
    public double Weight(ulong vector, uint without = 0)
    {
        var sum = 0.0;
        for (var field = 0; field < Comparison.Fields; field++)
        {
            if ((without & (1u << field)) == 0)
            {
                sum += weights[field][(byte)(vector >> (field * 8))];
            }
        }

        return sum;
    }

    /// <summary>Of a pair that was compared; 0 of one that <see cref="Households"/> rules out.</summary>
    public double Probability(MatchRecord a, MatchRecord b, ulong vector) => Admits(vector) ? Probability(Weight(a, b, vector)) : 0;

    /// <summary>The pair may be one customer at all.</summary>
    public bool Admits(ulong vector) => !Households || SpeaksOfOnePerson(vector);

    public double Probability(double weight) => 1 / (1 + double.Exp2(-(weight + PriorWeight)));

    public MatchScore Score(MatchRecord a, MatchRecord b) => Score(a, b, Compare(a, b));

    public MatchScore Score(MatchRecord a, MatchRecord b, ulong vector)
    {
        var fields = new List<FieldWeight>();
        for (var field = 0; field < Comparison.Fields; field++)
        {
            var level = (byte)(vector >> (field * 8));
            if (level != Comparison.Missing)
            {
                var adjustment = FrequencyAdjustment((MatchField)field, level, a, b);
                fields.Add(new((MatchField)field, Comparison.Levels[field][level], weights[field][level] + adjustment, M[field][level], U[field][level], adjustment));
            }
        }

        var weight = fields.Sum(f => f.Weight);
        return new(weight, Probability(weight), fields);
    }

    /// <summary>
    /// True for a pair that may be merged without being asked about, whatever its score: twins and households score high. A
    /// birth date that nearly agrees may be that of father and son, names that nearly agree those of brother and sister or of
    /// two branches; "Müller GmbH", "Müller GmbH &amp; Co. KG" and "Müller" are compared as one name and may be three firms.
    /// </summary>
    public static bool MayMergeUnasked(MatchRecord a, MatchRecord b, ulong vector) =>
        NothingDiffers(vector)
        && a.LegalForm == b.LegalForm
        && GivenNamesAgree(vector)
        && Comparison.Level(vector, MatchField.OrganizationName) is Comparison.Missing or 6
        && (Comparison.Level(vector, MatchField.BirthDate) == 4 || (Comparison.Level(vector, MatchField.BirthDate) == Comparison.Missing && FewShare(vector)));

    /// <summary>True when nothing speaks against the pair: no name, birth date or id differs.</summary>
    public static bool NothingDiffers(ulong vector) =>
        Comparison.Level(vector, MatchField.GivenName) is not (Comparison.Different or 3 or Comparison.CrossedGiven)
        && Comparison.Level(vector, MatchField.FamilyName) is not (Comparison.Different or 2)
        && Comparison.Level(vector, MatchField.BirthDate) != Comparison.Different
        && Comparison.Level(vector, MatchField.ExternalId) is not (Comparison.Different or 2)
        && (Comparison.Level(vector, MatchField.OrganizationName) == Comparison.Missing
            || (Comparison.Level(vector, MatchField.OrganizationName) >= 5 && Comparison.Level(vector, MatchField.Address) is Comparison.Missing or < Comparison.Places or >= 5 * Comparison.Places));

    /// <summary>True when, beside the names, something else agrees that few people share: birth date, street, e-mail, phone or id.</summary>
    public static bool MoreThanNamesAgree(ulong vector) =>
        Comparison.Level(vector, MatchField.BirthDate) >= 3
        || Comparison.Level(vector, MatchField.Address) >= 5 * Comparison.Places
        || Comparison.Level(vector, MatchField.Email) >= 3
        || Comparison.Level(vector, MatchField.Phone) == 3
        || Comparison.Level(vector, MatchField.ExternalId) == 3;

    /// <summary>
    /// "Daniel" and "Daniela" are close, and "A." in Anna's household may be Albert; a record without a given name may be
    /// anybody's of a family. Of organizations true.
    /// </summary>
    private static bool GivenNamesAgree(ulong vector) => Comparison.Level(vector, MatchField.GivenName) switch
    {
        Comparison.Missing => Comparison.Level(vector, MatchField.OrganizationName) != Comparison.Missing,
        2 => Comparison.Level(vector, MatchField.BirthDate) == 4,
        4 => false,
        _ => true,
    };

    /// <summary>
    /// The very same e-mail, phone or id, or one house in one place. The same mailbox at another provider is often but the name
    /// again, or an office's, and every town has a 1 Main Street.
    /// </summary>
    private static bool FewShare(ulong vector) =>
        Comparison.Level(vector, MatchField.Email) == 4
        || Comparison.Level(vector, MatchField.Phone) == 3
        || Comparison.Level(vector, MatchField.ExternalId) == 3
        || (Comparison.Level(vector, MatchField.Address) is >= 6 * Comparison.Places and var address && address % Comparison.Places > Comparison.Different);

    /// <summary>
    /// False when the given names differ and neither birth date nor an id speaks for one person: what agrees is what a
    /// household shares.
    /// </summary>
    public static bool SpeaksOfOnePerson(ulong vector) =>
        Comparison.Level(vector, MatchField.GivenName) != Comparison.Different
        || Comparison.Level(vector, MatchField.BirthDate) >= 3
        || Comparison.Level(vector, MatchField.ExternalId) == 3;

    /// <summary>Every record has n - 1 possible partners, so a pair at random is one customer the more seldom the more records there are.</summary>
    public static double PriorWeightOf(double matchesPerRecord, long records)
    {
        var share = Math.Min(0.5, 2 * matchesPerRecord / Math.Max(10, records - 1));
        return Math.Log2(share / (1 - share));
    }

    private double FrequencyAdjustment(MatchField field, byte level, MatchRecord a, MatchRecord b)
    {
        var (counts, value) = (field, level) switch
        {
            (MatchField.GivenName, 6) => (Terms.Given, a.Given),
            (MatchField.FamilyName, 5) => (Terms.Family, a.FamilyCompact),
            (MatchField.BirthDate, 4) => (Terms.BirthDate, a.BirthDate),
            (MatchField.OrganizationName, 6) => (Terms.Name, a.Name),
            (MatchField.Address, >= (6 * Comparison.Places) + 2) => (Terms.Address, SharedAddress(a, b)),
            (MatchField.Email, 4) => (Terms.Contact, Shared(a.Emails, b.Emails)),
            (MatchField.Phone, 3) => (Terms.Contact, Shared(a.Phones, b.Phones)),
            _ => (null, ""),
        };
        if (counts is null || value.Length == 0 || Records == 0)
        {
            return 0;
        }

        if (field == MatchField.BirthDate && TermCounts.Occurrences(counts, value) <= UsualBirthDate)
        {
            // All dates are equally rare, but for those that stand for "unknown".
            return 0;
        }

        var average = U[(int)field][level];
        return Math.Clamp(Math.Log2(average / TermCounts.Frequency(counts, value, average, Records)), MostFrequencyLoss, MostFrequencyGain);
    }

    private static string Shared(string[] a, string[] b)
    {
        foreach (var value in a)
        {
            if (Array.IndexOf(b, value) >= 0)
            {
                return value;
            }
        }

        return "";
    }

    private static string SharedAddress(MatchRecord a, MatchRecord b)
    {
        foreach (var left in a.Addresses)
        {
            foreach (var right in b.Addresses)
            {
                if (left.Street == right.Street && left.Number == right.Number)
                {
                    return TermCounts.AddressTerm(left);
                }
            }
        }

        return "";
    }

    /// <summary>
    /// The weights, where a level that agrees less never weighs more than one that agrees more: what is rare by chance
    /// proves nothing. Levels that are not of that order (an initial, a nickname, swapped names) stay below "exact".
    /// </summary>
    private static double[][] Monotone(double[][] m, double[][] u)
    {
        var bits = m.Select((levels, field) => levels.Select((value, level) => level == Comparison.Missing ? 0 : Math.Log2(value / u[field][level])).ToArray()).ToArray();
        for (var field = 0; field < Comparison.Fields; field++)
        {
            var levels = bits[field];
            switch ((MatchField)field)
            {
                case MatchField.Address:
                    for (var level = levels.Length - 1; level > 0; level--)
                    {
                        var (street, place) = (level / Comparison.Places, level % Comparison.Places);
                        if (street is > 0 and < Comparison.Streets - 1)
                        {
                            levels[level] = Math.Min(levels[level], levels[level + Comparison.Places]);
                        }

                        if (place is > 0 and < Comparison.Places - 1)
                        {
                            levels[level] = Math.Min(levels[level], levels[level + 1]);
                        }
                    }

                    break;
                case MatchField.GivenName:
                    Order(levels, 1, 3, 4, 6);
                    Order(levels, 2, 6);
                    Order(levels, 5, 6);
                    // Both names agree in the other order: no stronger than both in this one.
                    levels[Comparison.SwappedGiven] = Math.Min(levels[Comparison.SwappedGiven], levels[6] + bits[(int)MatchField.FamilyName][^1]);
                    Order(levels, Comparison.CrossedGiven, 6);
                    break;
                case MatchField.FamilyName:
                    Order(levels, 1, 2, 3, 5);
                    Order(levels, 4, 5);
                    break;
                default:
                    Order(levels, [.. Enumerable.Range(1, levels.Length - 1)]);
                    break;
            }
        }

        return bits;

        static void Order(double[] levels, params int[] ascending)
        {
            for (var i = ascending.Length - 2; i >= 0; i--)
            {
                levels[ascending[i]] = Math.Min(levels[ascending[i]], levels[ascending[i + 1]]);
            }
        }
    }
}
