using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Crm.Contacts.Domain.Matching;

namespace Crm.Runner.Matching;

/// <summary>
/// Records of a CSV file with the truth about which are the same. The truth's column is taken out and the rows are
/// shuffled before anything else sees them.
/// </summary>
internal sealed partial class LabelledRecords
{
    private static readonly string[] TruthColumns = ["true_id", "cluster", "cluster_id", "unique_id", "entity_id", "ent_id", "truth"];

    private static readonly string[] IdColumns = ["ssn", "tax"];

    /// <summary>What the columns of published sets are called.</summary>
    private static readonly Dictionary<string, string> Names = new(StringComparer.Ordinal)
    {
        ["given_name"] = "given", ["first_name"] = "given", ["firstname"] = "given", ["forename"] = "given", ["fname"] = "given", ["fname_c1"] = "given", ["fname_c2"] = "given",
        ["family_name"] = "family", ["surname"] = "family", ["last_name"] = "family", ["lastname"] = "family", ["lname"] = "family", ["lname_c1"] = "family", ["lname_c2"] = "family",
        ["full_name"] = "full", ["name"] = "name", ["company"] = "name", ["company_name"] = "name", ["organization"] = "name", ["organisation"] = "name",
        ["date_of_birth"] = "birth", ["birth_date"] = "birth", ["birthdate"] = "birth", ["dob"] = "birth", ["by"] = "year", ["bm"] = "month", ["bd"] = "day",
        ["birth_year"] = "year", ["birth_month"] = "month", ["birth_day"] = "day",
        ["street_number"] = "number", ["house_number"] = "number", ["address"] = "street", ["address_1"] = "street", ["address1"] = "street", ["addr"] = "street", ["street"] = "street",
        ["address_2"] = "second", ["address2"] = "second",
        ["suburb"] = "city", ["city"] = "city", ["town"] = "city", ["locality"] = "city", ["postcode"] = "postal", ["postal_code"] = "postal", ["zip"] = "postal", ["zipcode"] = "postal", ["zip_code"] = "postal", ["plz"] = "postal",
        ["email"] = "email", ["e_mail"] = "email", ["email_address"] = "email", ["phone"] = "phone", ["phone_number"] = "phone", ["telephone"] = "phone", ["mobile"] = "phone",
        ["soc_sec_id"] = "ssn", ["ssn"] = "ssn", ["national_id"] = "ssn", ["tax_id"] = "tax", ["vat_id"] = "tax",
    };

    private static readonly Dictionary<string, string[]> Groups = new(StringComparer.Ordinal)
    {
        ["names"] = ["given", "family", "full", "name"],
        ["birth_date"] = ["birth", "year", "month", "day"],
        ["address"] = ["number", "street", "second", "city", "postal"],
        ["email"] = ["email"],
        ["phone"] = ["phone"],
        ["ids"] = IdColumns,
    };

    private LabelledRecords(List<MatchFields> records, List<string> truth)
    {
        Records = records;
        Truth = truth;
    }

    public static IReadOnlyCollection<string> FieldGroups => Groups.Keys;

    public IReadOnlyList<MatchFields> Records { get; }

    /// <summary>Of each record, the name of what it is; empty throughout when the file does not tell.</summary>
    public IReadOnlyList<string> Truth { get; }

    /// <param name="path">The file, UTF-8, with a header.</param>
    /// <param name="fields">Which groups of fields to read (<see cref="FieldGroups"/>); null for all.</param>
    /// <param name="truthColumn">Null: found by its name.</param>
    /// <param name="persons">Null: persons when there is a column of given or family names.</param>
    public static LabelledRecords Read(string path, IReadOnlyCollection<string>? fields = null, string? truthColumn = null, bool? persons = null)
    {
        if (!File.Exists(path))
        {
            throw new RunnerException($"{path} is not there.", "Name a CSV file with a header.");
        }

        var rows = Rows(File.ReadAllText(path));
        if (rows.Count < 3)
        {
            throw new RunnerException($"{path} has no rows.", "It needs a header and two rows.");
        }

        var header = rows[0].Select(h => h.Trim().ToLowerInvariant()).ToList();
        var recordId = header.IndexOf("rec_id");
        var truthAt = truthColumn is not null ? header.IndexOf(truthColumn.ToLowerInvariant()) : header.FindIndex(h => TruthColumns.Contains(h, StringComparer.Ordinal));
        var febrl = truthAt < 0 && recordId >= 0;
        truthAt = febrl ? recordId : truthAt;
        if (truthColumn is not null && truthAt < 0)
        {
            throw new RunnerException($"{path} has no column {truthColumn}.", $"There are: {string.Join(", ", header)}");
        }

        var allowed = fields?.SelectMany(f => Groups.TryGetValue(f, out var names) ? names : throw new RunnerException($"There is no field group {f}.", $"There are: {string.Join(", ", Groups.Keys)}")).ToHashSet(StringComparer.Ordinal);
        var columns = header.Select((h, i) => i != truthAt && Names.TryGetValue(h, out var name) && allowed?.Contains(name) is not false ? name : null).ToList();
        var isPerson = persons ?? header.Any(h => Names.GetValueOrDefault(h) is "given" or "family" or "full");
        var order = Enumerable.Range(1, rows.Count - 1).ToArray();
        new Random(20261122).Shuffle(order);

        var records = new List<MatchFields>();
        var truth = new List<string>();
        foreach (var row in order.Select(i => rows[i]))
        {
            var values = columns.Zip(row).Where(c => c.First is not null && c.Second.Trim() is not ("" or "NA" or "NULL"))
                .GroupBy(c => c.First!, c => c.Second.Trim(), StringComparer.Ordinal)
                .ToDictionary(g => g.Key, g => string.Join(' ', g), StringComparer.Ordinal);
            records.Add(ToFields(values, isPerson));
            truth.Add(truthAt < 0 ? "" : febrl ? FebrlId().Match(row[truthAt]).Groups["id"].Value : row[truthAt].Trim());
        }

        return new(records, truth);
    }

    private static MatchFields ToFields(Dictionary<string, string> values, bool person)
    {
        var (number, street, second) = (Value("number"), Value("street"), Value("second"));
        var first = string.Join(' ', new[] { number, street }.Where(v => v is not null));
        var address = new MatchAddress([.. new[] { first, second ?? "" }.Where(l => l.Length > 0)], Value("city"), Value("postal"));
        return new()
        {
            Id = Guid.NewGuid(),
            Organization = !person,
            GivenName = Value("given") ?? Value("full") ?? (person ? Value("name") : null),
            FamilyName = Value("family"),
            Name = person ? null : Value("name"),
            BirthDate = Birth(),
            Addresses = address.Lines.Count > 0 || address.City is not null || address.PostalCode is not null ? [address] : [],
            Emails = Value("email") is { } email ? [email] : [],
            Phones = Value("phone") is { } phone ? [phone] : [],
            ExternalIds = [.. IdColumns.Where(values.ContainsKey).Select(s => (s, values[s]))],
        };

        string? Value(string name) => values.GetValueOrDefault(name);

        string? Birth()
        {
            if (Value("birth") is { } text)
            {
                var parts = text.Split('-', '/', '.');
                return parts.Length == 3 && parts[2].Length == 4
                    ? parts[2] + parts[1].PadLeft(2, '0') + parts[0].PadLeft(2, '0')
                    : parts.Length == 3 ? parts[0] + parts[1].PadLeft(2, '0') + parts[2].PadLeft(2, '0') : text;
            }

            return Value("year") is { } year
                ? string.Create(CultureInfo.InvariantCulture, $"{year.PadLeft(4, '0')}{(Value("month") ?? "").PadLeft(2, '0')}{(Value("day") ?? "").PadLeft(2, '0')}")
                : null;
        }
    }

    /// <summary>RFC 4180, and blanks after a comma are no part of the value.</summary>
    private static List<List<string>> Rows(string text)
    {
        var rows = new List<List<string>>();
        var row = new List<string>();
        var value = new StringBuilder();
        var quoted = false;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (quoted)
            {
                if (c != '"')
                {
                    value.Append(c);
                }
                else if (i + 1 < text.Length && text[i + 1] == '"')
                {
                    value.Append('"');
                    i++;
                }
                else
                {
                    quoted = false;
                }
            }
            else if (c == '"' && string.IsNullOrWhiteSpace(value.ToString()))
            {
                value.Clear();
                quoted = true;
            }
            else if (c is ',' or '\n')
            {
                row.Add(value.ToString().TrimEnd('\r'));
                value.Clear();
                if (c == '\n')
                {
                    rows.Add(row);
                    row = [];
                }
            }
            else if (c != ' ' || value.Length > 0)
            {
                value.Append(c);
            }
        }

        if (row.Count > 0 || value.Length > 0)
        {
            row.Add(value.ToString());
            rows.Add(row);
        }

        rows.RemoveAll(r => r.Count == 1 && r[0].Length == 0);
        return rows;
    }

    [GeneratedRegex("^rec-(?<id>[0-9]+)-", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex FebrlId();
}
