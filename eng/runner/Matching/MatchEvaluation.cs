using System.Diagnostics;
using Crm.Contacts.Domain.Matching;

namespace Crm.Runner.Matching;

/// <summary>How the matching engine does on a set whose truth is known.</summary>
/// <param name="Records">How many there are.</param>
/// <param name="TruePairs">Pairs that are one customer.</param>
/// <param name="Candidates">Pairs compared.</param>
/// <param name="PairCompleteness">Share of the true pairs that were compared.</param>
/// <param name="Found">Pairs at or above the threshold.</param>
/// <param name="Precision">Share of those that are true.</param>
/// <param name="Recall">Share of the true pairs among them.</param>
/// <param name="AutoPairs">Pairs that could be merged without being asked about.</param>
/// <param name="AutoPrecision">Share of those that are true; 1 when there is none.</param>
/// <param name="Time">Preparing, estimating and scoring together.</param>
internal sealed record MatchEvaluation(
    int Records, long TruePairs, long Candidates, double PairCompleteness, long Found, double Precision, double Recall, long AutoPairs, double AutoPrecision, TimeSpan Time)
{
    public double F1 => Precision + Recall == 0 ? 0 : 2 * Precision * Recall / (Precision + Recall);

    /// <summary>Pairs compared, of all there are.</summary>
    public double CandidateShare => Candidates / (Records * (Records - 1.0) / 2);

    public static MatchEvaluation Of(LabelledRecords set, double threshold = 0.5, double auto = 0.999) => Run(set, threshold, auto).Evaluation;

    public static (MatchEvaluation Evaluation, MatchModel Model, List<(int A, int B, MatchScore Score, bool Same)> Pairs, IReadOnlyList<MatchRecord> Records) Run(
        LabelledRecords set, double threshold = 0.5, double auto = 0.999)
    {
        var start = Stopwatch.GetTimestamp();
        var records = set.Records.Select(r => MatchRecord.Of(r)).ToList();
        var model = new ModelEstimator(records).Estimate();
        var candidates = CandidatePairs.Of(records);
        long compared = 0, covered = 0, found = 0, right = 0, autoPairs = 0, autoRight = 0;
        var pairs = new List<(int, int, MatchScore, bool)>();
        for (var block = 0; block < candidates.Blocks; block++)
        {
            candidates.Visit(block, (a, b) =>
            {
                var vector = model.Compare(records[a], records[b]);
                var probability = model.Probability(records[a], records[b], vector);
                var same = set.Truth[a].Length > 0 && set.Truth[a] == set.Truth[b];
                compared++;
                covered += same ? 1 : 0;
                if (probability >= threshold)
                {
                    found++;
                    right += same ? 1 : 0;
                }

                if (probability >= auto && MatchModel.NothingDiffers(vector))
                {
                    autoPairs++;
                    autoRight += same ? 1 : 0;
                }

                if (probability >= 0.01 || same)
                {
                    pairs.Add((a, b, model.Score(records[a], records[b]), same));
                }
            });
        }

        var time = Stopwatch.GetElapsedTime(start);
        var seen = pairs.Select(p => (p.Item1, p.Item2)).ToHashSet();
        foreach (var members in set.Truth.Select((t, i) => (t, i)).Where(t => t.t.Length > 0).GroupBy(t => t.t, t => t.i, StringComparer.Ordinal).Select(g => g.ToArray()))
        {
            for (var i = 1; i < members.Length; i++)
            {
                for (var j = 0; j < i; j++)
                {
                    if (!seen.Contains((members[j], members[i])))
                    {
                        // Never compared; what the score would have been.
                        pairs.Add((members[j], members[i], model.Score(records[members[j]], records[members[i]]) with { Probability = 0 }, true));
                    }
                }
            }
        }

        var truePairs = set.Truth.Where(t => t.Length > 0).GroupBy(t => t, StringComparer.Ordinal).Sum(g => g.LongCount() * (g.LongCount() - 1) / 2);
        return (new(
            records.Count, truePairs, compared, Ratio(covered, truePairs), found, Ratio(right, found), Ratio(right, truePairs), autoPairs, autoPairs == 0 ? 1 : Ratio(autoRight, autoPairs), time),
            model, pairs, records);

        static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;
    }
}
