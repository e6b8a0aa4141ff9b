using System.Globalization;
using Crm.Contacts.Domain.Matching;
using Crm.Runner.Matching;

namespace Crm.Runner.Commands;

/// <summary>
/// Runs the matching engine of Contacts on published sets, or on a file: pairs compared, pair completeness, precision,
/// recall, F1, and the precision of the band that may be merged without being asked about. Nothing is tuned to a set.
/// </summary>
internal static class MatchCommand
{
    private static readonly (string File, string? Fields)[] Published =
    [
        ("febrl1.csv", null), ("febrl1.csv", "names,birth_date,address"),
        ("febrl2.csv", null), ("febrl2.csv", "names,birth_date,address"),
        ("febrl3.csv", null), ("febrl3.csv", "names,birth_date,address"), ("febrl3.csv", "names,address"), ("febrl3.csv", "names,birth_date"),
        ("RLdata500.csv", null),
        ("restaurant.csv", null),
    ];

    public static Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        string? file = null, fields = null, truth = null;
        bool? persons = null;
        var threshold = 0.5;
        var (model, errors) = (false, 0);
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--file": file = Next(ref i); break;
                case "--fields": fields = Next(ref i); break;
                case "--truth": truth = Next(ref i); break;
                case "--kind": persons = Next(ref i) switch { "person" => true, "organization" => false, _ => throw Usage() }; break;
                case "--threshold": threshold = double.TryParse(Next(ref i), CultureInfo.InvariantCulture, out var value) && value is > 0 and < 1 ? value : throw Usage(); break;
                case "--model": model = true; break;
                case "--errors": errors = int.TryParse(Next(ref i), CultureInfo.InvariantCulture, out var count) ? count : throw Usage(); break;
                default: throw Usage();
            }
        }

        var sets = file is not null ? [(file, fields)] : Published.Select(p => (Path.Combine(SharedFolder(), "data", p.File), p.Fields)).ToArray();
        Console.WriteLine("| set | fields | records | true pairs | compared | of all | completeness | P | R | F1 | auto pairs | auto P | time |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        foreach (var (path, only) in sets)
        {
            ct.ThrowIfCancellationRequested();
            var set = LabelledRecords.Read(path, only?.Split(','), truth, persons);
            var (e, estimated, pairs, records) = MatchEvaluation.Run(set, threshold);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"| {Path.GetFileNameWithoutExtension(path)} | {only ?? "all"} | {e.Records:n0} | {e.TruePairs:n0} | {e.Candidates:n0} | {e.CandidateShare:0.000 %} | {e.PairCompleteness:0.0000} | {e.Precision:0.0000} | {e.Recall:0.0000} | {e.F1:0.0000} | {e.AutoPairs:n0} | {e.AutoPrecision:0.0000} | {e.Time.TotalSeconds:0.0} s |"));
            if (model)
            {
                Print(estimated);
            }

            foreach (var (a, b, score, same) in pairs.Where(p => p.Score.Probability >= threshold != p.Same).OrderByDescending(p => p.Score.Probability).Take(errors))
            {
                Print(records[a], records[b], score, same);
            }
        }

        return Task.FromResult(0);

        string Next(ref int i) => ++i < args.Length ? args[i] : throw Usage();
    }

    private static void Print(MatchModel model)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\nprior {model.PriorWeight:0.0} bits, {model.MatchesPerRecord:0.0000} matches a record"));
        for (var field = 0; field < Comparison.Fields; field++)
        {
            for (var level = 1; level < Comparison.Levels[field].Count; level++)
            {
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"  {(MatchField)field,-18} {Comparison.Levels[field][level],-34} m {model.M[field][level]:0.00000}  u {model.U[field][level]:0.0000000}  {model.Weight((ulong)level << (field * 8)),6:0.0}"));
            }
        }
    }

    private static void Print(MatchRecord a, MatchRecord b, MatchScore score, bool same)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\n{(same ? score.Probability == 0 ? "never compared" : "missed" : "wrong")}, p {score.Probability:0.0000}, {score.Weight:0.0} bits"));
        foreach (var r in (MatchRecord[])[a, b])
        {
            Console.WriteLine($"  {r.Given} | {r.Family} | {r.Name} | {r.BirthDate} | {string.Join("; ", r.Addresses.Select(x => $"{x.Number} {x.Street}, {x.Second}, {x.PostalCode} {x.City}"))} | {string.Join(' ', r.ExternalIds.Select(x => x.Value))}");
        }

        Console.WriteLine("  " + string.Join(", ", score.Fields.Select(f => string.Create(CultureInfo.InvariantCulture, $"{f.Field} {f.Level} {f.Weight:+0.0;-0.0}"))));
    }

    private static string SharedFolder()
    {
        var root = Topology.FindRoot();
        return Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder ? Path.GetFullPath(folder, root) : Path.GetFullPath(Path.Combine(root, "..", "shared"));
    }

    private static RunnerException Usage() => new(
        "match takes --file <csv>, --fields names,birth_date,address,email,phone,ids, --truth <column>, --kind person|organization, --threshold 0.5, --model, --errors 10.",
        "Without --file it runs the published sets of ../shared/data.");
}
