using System.Runtime.InteropServices;

namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// Estimates a <see cref="MatchModel"/> from unlabelled records. u comes from pairs picked at random; m by
/// expectation-maximisation (Dempster, Laird and Rubin 1977; Winkler 1988, "Using the EM algorithm for weight
/// computation in the Fellegi-Sunter model of record linkage") over pairs that agree on one field, which is then left
/// out, for several such fields; the prior by EM over all candidates, every other pair counting as a certain non-match.
/// Two classes take a household for one person where there are many (Larsen and Rubin 2001, "Iterative automated record
/// linkage using mixture models"), so pairs that speak of a household only are left out then.
/// Few matches cannot lead it astray: m is drawn towards the defaults, "different" is capped, weights rise with agreement.
/// </summary>
internal sealed class ModelEstimator(IReadOnlyList<MatchRecord> records, int seed = 1)
{
    private const int RandomPairs = 1_000_000;
    private const int PairsOfPass = 400_000;
    private const int LargestGroup = 60;
    private const int Rounds = 3;
    private const int Iterations = 40;

    /// <summary>The weight of the defaults in matches, when m is estimated.</summary>
    private const double PriorMatches = 12;

    /// <summary>A larger share of matches that are unlike in a name or a birth date is a class of something else, such as households.</summary>
    private const double MostDifferent = 0.12;

    /// <summary>Of pairs that share an address, a phone or a mailbox and the family name: more than this share that speaks of no one person are households.</summary>
    private const double MostOfNoOnePerson = 0.25;

    private const int FewestSharing = 50;

    private static readonly MatchField[] Identity = [MatchField.GivenName, MatchField.FamilyName, MatchField.BirthDate, MatchField.OrganizationName];

    private readonly bool organization = records.Count > 0 && records[0].Organization;

    /// <param name="candidates">The pairs of these records, when they are made already.</param>
    public MatchModel Estimate(CandidatePairs? candidates = null)
    {
        var terms = TermCounts.Of(records);
        var n = records.Count;
        var model = new MatchModel(DefaultParameters.M(organization), DefaultParameters.U(organization), DefaultParameters.MatchesPerRecord, n, terms, households: true);
        if (n < 2)
        {
            return model;
        }

        var atRandom = AtRandom(model);
        var passes = Passes().Select(p => (p.Without, Vectors: OfPass(p.Key, model))).ToList();
        candidates ??= CandidatePairs.Of(records);
        var households = FindHouseholds(passes);
        for (var round = 0; round < Rounds; round++)
        {
            var u = EstimateU(atRandom, model);
            var m = EstimateM(passes, u, households);
            model = new(m, u, model.MatchesPerRecord, n, terms, households);
            model = model.WithPrior(EstimatePrior(candidates, model));
        }

        return model;
    }

    /// <summary>
    /// Expected matches for each record, by EM over the weights of candidate pairs: the share of matches among all pairs,
    /// to which pairs that are no candidates add nothing.
    /// </summary>
    /// <param name="weights">Pairs by weight.</param>
    /// <param name="records">How many records the pairs come from.</param>
    /// <param name="scale">How many pairs each of them stands for.</param>
    public static double PriorOf(WeightHistogram weights, long records, double scale = 1)
    {
        var matchesPerRecord = DefaultParameters.MatchesPerRecord;
        for (var i = 0; i < 50; i++)
        {
            var prior = MatchModel.PriorWeightOf(matchesPerRecord, records);
            matchesPerRecord = Math.Clamp(scale * weights.Expected(prior) / records, 0.0005, 10);
        }

        return matchesPerRecord;
    }

    private Dictionary<ulong, int> AtRandom(MatchModel model)
    {
        var vectors = new Dictionary<ulong, int>();
        var n = records.Count;
        if ((long)n * (n - 1) / 2 <= RandomPairs)
        {
            for (var i = 1; i < n; i++)
            {
                for (var j = 0; j < i; j++)
                {
                    Count(vectors, model.Compare(records[i], records[j]));
                }
            }

            return vectors;
        }

        var random = new Random(seed);
        for (var pair = 0; pair < RandomPairs; pair++)
        {
            var i = random.Next(n);
            var j = random.Next(n - 1);
            Count(vectors, model.Compare(records[i], records[j < i ? j : j + 1]));
        }

        return vectors;
    }

    /// <summary>Fields that make a pass, and what is left out of its estimate.</summary>
    private IEnumerable<(Func<MatchRecord, string> Key, uint Without)> Passes()
    {
        if (organization)
        {
            yield return (r => r.Name.Length == 0 ? "" : string.Concat(r.NameTokens) is var name ? name[..Math.Min(7, name.Length)] : "", Bit(MatchField.OrganizationName));
        }
        else
        {
            yield return (r => r.Given.Length == 0 || r.Family.Length == 0 ? "" : StringDistance.Soundex(r.Given) + StringDistance.Soundex(r.FamilyCompact), Bit(MatchField.GivenName) | Bit(MatchField.FamilyName));
            yield return (r => r.BirthDate, Bit(MatchField.BirthDate));
        }

        yield return (r => r.Addresses.Length == 0 || r.Addresses[0].Street.Length == 0 ? "" : $"{r.Addresses[0].Number} {r.Addresses[0].Street}", Bit(MatchField.Address));
        yield return (r => r.Emails.FirstOrDefault() ?? "", Bit(MatchField.Email));
        yield return (r => r.Phones.FirstOrDefault() ?? "", Bit(MatchField.Phone));
        yield return (r => r.ExternalIds is [var id, ..] ? $"{id.System} {id.Value}" : "", Bit(MatchField.ExternalId));

        static uint Bit(MatchField field) => 1u << (int)field;
    }

    private Dictionary<ulong, int> OfPass(Func<MatchRecord, string> key, MatchModel model)
    {
        // Most addresses and contacts are one record's alone, and make no group.
        var occurrences = new RoughCounts(records.Count);
        foreach (var record in records)
        {
            occurrences.Add(key(record).GetHashCode(StringComparison.Ordinal));
        }

        var groups = new Dictionary<string, List<int>>(StringComparer.Ordinal);
        for (var i = 0; i < records.Count; i++)
        {
            if (key(records[i]) is { Length: > 0 } value && occurrences.MayBe(2, value.GetHashCode(StringComparison.Ordinal)))
            {
                (CollectionsMarshal.GetValueRefOrAddDefault(groups, value, out _) ??= []).Add(i);
            }
        }

        var vectors = new Dictionary<ulong, int>();
        var pairs = 0;
        foreach (var group in groups.Values)
        {
            if (group.Count is < 2 or > LargestGroup)
            {
                continue;
            }

            var members = group.ConvertAll(i => records[i]);
            for (var i = 1; i < members.Count; i++)
            {
                for (var j = 0; j < i; j++)
                {
                    Count(vectors, model.Compare(members[i], members[j]));
                    pairs++;
                }
            }

            if (pairs > PairsOfPass)
            {
                break;
            }
        }

        return vectors;
    }

    /// <summary>The share of each level among random pairs, each counted by its probability of being two customers.</summary>
    private static double[][] EstimateU(Dictionary<ulong, int> atRandom, MatchModel model)
    {
        var counts = Zero();
        foreach (var (vector, count) in atRandom)
        {
            Add(counts, vector, count * (1 - model.Probability(model.Weight(vector))));
        }

        var u = Zero();
        for (var field = 0; field < Comparison.Fields; field++)
        {
            foreach (var levels in Groups(field))
            {
                // Nothing seen among a million pairs is not impossible: half an observation.
                var total = levels.Sum(l => counts[field][l] + 0.5);
                foreach (var level in levels)
                {
                    u[field][level] = total < 200 ? model.U[field][level] : (counts[field][level] + 0.5) / total;
                }
            }

            u[field][Comparison.Missing] = 1;
        }

        return u;
    }

    /// <summary>Whether people live together in these records; where too few share anything to tell, they do.</summary>
    private static bool FindHouseholds(List<(uint Without, Dictionary<ulong, int> Vectors)> passes)
    {
        long sharing = 0, ofNoOne = 0;
        foreach (var (_, vectors) in passes.Where(p => p.Without is 1u << (int)MatchField.Address or 1u << (int)MatchField.Email or 1u << (int)MatchField.Phone))
        {
            foreach (var (vector, count) in vectors.Where(v => Comparison.Level(v.Key, MatchField.FamilyName) >= 3))
            {
                sharing += count;
                ofNoOne += MatchModel.SpeaksOfOnePerson(vector) ? 0 : count;
            }
        }

        return sharing < FewestSharing || ofNoOne > MostOfNoOnePerson * sharing;
    }

    private double[][] EstimateM(List<(uint Without, Dictionary<ulong, int> Vectors)> passes, double[][] u, bool households)
    {
        var defaults = DefaultParameters.M(organization);
        var m = defaults;
        var shares = passes.Select(_ => 0.2).ToArray();
        for (var iteration = 0; iteration < Iterations; iteration++)
        {
            var model = new MatchModel(m, u, 1, 0, new(), households);
            var counts = Zero();
            for (var p = 0; p < passes.Count; p++)
            {
                var (without, vectors) = passes[p];
                double matches = 0, all = 0;
                var odds = shares[p] / (1 - shares[p]);
                var ofPass = Zero();
                foreach (var (vector, count) in vectors)
                {
                    var ratio = odds * double.Exp2(model.Weight(vector, without));
                    var expected = model.Admits(vector) ? count * (ratio / (1 + ratio)) : 0;
                    matches += expected;
                    all += count;
                    Add(ofPass, vector, expected, without);
                }

                if (all == 0)
                {
                    continue;
                }

                shares[p] = Math.Clamp(matches / all, 1e-4, 0.99);
                for (var field = 0; field < Comparison.Fields; field++)
                {
                    for (var level = 0; level < counts[field].Length; level++)
                    {
                        counts[field][level] += ofPass[field][level];
                    }
                }
            }

            m = Normalised(counts, defaults);
        }

        return m;
    }

    /// <summary>Shares of the levels, with the defaults as a Dirichlet prior; of an address, with the product of street and place as one.</summary>
    private double[][] Normalised(double[][] counts, double[][] defaults)
    {
        var m = Zero();
        for (var field = 0; field < Comparison.Fields; field++)
        {
            var prior = field == (int)MatchField.Address ? AddressPrior(counts[field], defaults[field]) : defaults[field];
            foreach (var levels in Groups(field))
            {
                var total = levels.Sum(l => counts[field][l]) + (PriorMatches * levels.Sum(l => prior[l]));
                foreach (var level in levels)
                {
                    m[field][level] = (counts[field][level] + (PriorMatches * prior[level])) / total;
                }
            }

            m[field][Comparison.Missing] = 1;
        }

        foreach (var field in Identity)
        {
            var levels = m[(int)field];
            var excess = levels[Comparison.Different] - MostDifferent;
            if (excess > 0)
            {
                var rest = 1 - levels[Comparison.Different];
                for (var level = 1; level < levels.Length; level++)
                {
                    levels[level] = level == Comparison.Different ? MostDifferent : levels[level] * (1 - MostDifferent) / rest;
                }
            }
        }

        if (organization)
        {
            // The branches of a chain share the name, not the street.
            var levels = m[(int)MatchField.Address];
            var apart = Enumerable.Range(Comparison.Places + 1, Comparison.Places - 1).ToArray();
            var share = apart.Sum(l => levels[l]);
            if (share > MostDifferent)
            {
                foreach (var level in Groups((int)MatchField.Address).First())
                {
                    levels[level] *= apart.Contains(level) ? MostDifferent / share : (1 - MostDifferent) / (1 - share);
                }
            }
        }

        return m;
    }

    private static double[] AddressPrior(double[] counts, double[] defaults)
    {
        var streets = new double[Comparison.Streets];
        var places = new double[Comparison.Places];
        for (var level = 1; level < counts.Length; level++)
        {
            var count = counts[level] + (PriorMatches * defaults[level]);
            streets[level / Comparison.Places] += count;
            places[level % Comparison.Places] += count;
        }

        // A missing part says nothing about the rest.
        var (knownStreets, knownPlaces) = (streets.Skip(1).Sum(), places.Skip(1).Sum());
        return DefaultParameters.Address(
            [1, .. streets.Skip(1).Select(s => s / knownStreets)],
            [1, .. places.Skip(1).Select(p => p / knownPlaces)]);
    }

    private double EstimatePrior(CandidatePairs candidates, MatchModel model)
    {
        // Enough blocks for a few hundred thousand pairs, evenly picked.
        const int Enough = 20_000;
        var step = Math.Max(1, candidates.Blocks / Enough);
        var weights = new WeightHistogram();
        for (var block = 0; block < candidates.Blocks; block += step)
        {
            candidates.Visit(block, records, (i, j) =>
            {
                var vector = model.Compare(i.Record, j.Record);
                if (model.Admits(vector))
                {
                    weights.Add(model.Weight(i.Record, j.Record, vector));
                }
            });
        }

        return PriorOf(weights, records.Count, step);
    }

    /// <summary>The levels whose probabilities add up to one: of an address where both parts are known, where one is.</summary>
    private static IEnumerable<int[]> Groups(int field)
    {
        if (field != (int)MatchField.Address)
        {
            return [[.. Enumerable.Range(1, Comparison.Levels[field].Count - 1)]];
        }

        var all = Enumerable.Range(1, (Comparison.Streets * Comparison.Places) - 1).ToList();
        return
        [
            [.. all.Where(l => l / Comparison.Places > 0 && l % Comparison.Places > 0)],
            [.. all.Where(l => l / Comparison.Places == 0)],
            [.. all.Where(l => l % Comparison.Places == 0)],
        ];
    }

    private static void Add(double[][] counts, ulong vector, double amount, uint without = 0)
    {
        for (var field = 0; field < Comparison.Fields; field++)
        {
            if ((without & (1u << field)) == 0)
            {
                counts[field][(byte)(vector >> (field * 8))] += amount;
            }
        }
    }

    private static double[][] Zero() => [.. Comparison.Levels.Select(l => new double[l.Count])];

    private static void Count(Dictionary<ulong, int> vectors, ulong vector) => CollectionsMarshal.GetValueRefOrAddDefault(vectors, vector, out _)++;
}

/// <summary>Pairs by weight, in eighths of a bit.</summary>
internal sealed class WeightHistogram
{
    private const int Lowest = -60;
    private const int Highest = 120;
    private const int Steps = 8;

    private readonly long[] counts = new long[(Highest - Lowest) * Steps];

    public void Add(double weight) => counts[(int)Math.Clamp((weight - Lowest) * Steps, 0, counts.Length - 1)]++;

    public void Add(WeightHistogram other)
    {
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] += other.counts[i];
        }
    }

    /// <summary>Pairs that are expected to be one customer, given the prior's weight.</summary>
    public double Expected(double prior)
    {
        var sum = 0.0;
        for (var i = 0; i < counts.Length; i++)
        {
            if (counts[i] > 0)
            {
                sum += counts[i] / (1 + double.Exp2(-(((double)i / Steps) + Lowest + (0.5 / Steps) + prior)));
            }
        }

        return sum;
    }
}
