using System.Globalization;
using System.Text.Json;
using Crm.Contacts.Domain.Matching;
using Crm.Hosting.Web;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// The parameters by which pairs are scored, read once a minute: those that the last full scan estimated, and before the
/// first one the defaults, for as many customers as there are.
/// </summary>
internal sealed class MatchModels(NpgsqlDataSource dataSource, TimeProvider clock)
{
    private const int FewestRecords = 1000;

    /// <summary>A value that fewer customers have weighs like one that nobody else has; see <see cref="TermCounts.Frequency"/>.</summary>
    private const int FewestOfValue = 3;

    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(1);

    private volatile Loaded? _loaded;

    public async Task<MatchModel> OfAsync(bool organization, CancellationToken ct)
    {
        var loaded = _loaded;
        if (loaded is null || clock.GetElapsedTime(loaded.At) > Lifetime)
        {
            _loaded = loaded = await LoadAsync(ct);
        }

        return organization ? loaded.Organizations : loaded.Persons;
    }

    public async Task SaveAsync(bool organization, MatchModel model, CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            INSERT INTO duplicate_models (kind, model, made_at) VALUES (@kind, @model, @now)
            ON CONFLICT (kind) DO UPDATE SET model = excluded.model, made_at = excluded.made_at
            """);
        command.Parameters.Add(new NpgsqlParameter<string>("kind", Kind(organization)));
        command.Parameters.Add(ParameterOf(model));
        command.Parameters.Add(new NpgsqlParameter<DateTimeOffset>("now", clock.GetUtcNow()));
        await command.ExecuteNonQueryAsync(ct);
        _loaded = null;
    }

    private async Task<Loaded> LoadAsync(CancellationToken ct)
    {
        var stored = new Dictionary<string, MatchModel>(StringComparer.Ordinal);
        var plain = new List<(string Kind, DateTimeOffset MadeAt)>();
        await using (var read = dataSource.CreateCommand("SELECT kind, model, made_at FROM duplicate_models"))
        await using (var row = await read.ExecuteReaderAsync(ct))
        {
            while (await row.ReadAsync(ct))
            {
                var model = JsonSerializer.Deserialize<Stored>(row.GetString(1), JsonDefaults.Options)!;
                stored[row.GetString(0)] = new(model.M, model.U, model.MatchesPerRecord, model.Records, model.Terms.Read(), model.Households);
                if (model.Terms.HasTexts())
                {
                    plain.Add((row.GetString(0), row.GetFieldValue<DateTimeOffset>(2)));
                }
            }
        }

        foreach (var (kind, madeAt) in plain)
        {
            // An earlier release kept the values, and no erasure finds them here.
            await using var hash = dataSource.CreateCommand("UPDATE duplicate_models SET model = @model WHERE kind = @kind AND made_at = @made_at");
            hash.Parameters.Add(ParameterOf(stored[kind]));
            hash.Parameters.Add(new NpgsqlParameter<string>("kind", kind));
            hash.Parameters.Add(new NpgsqlParameter<DateTimeOffset>("made_at", madeAt));
            await hash.ExecuteNonQueryAsync(ct);
        }

        await using var command = dataSource.CreateCommand("SELECT reltuples::bigint FROM pg_class WHERE oid = 'customers'::regclass");
        var records = Math.Max(FewestRecords, (long)(await command.ExecuteScalarAsync(ct))!);
        return new(Of(organization: false), Of(organization: true), clock.GetTimestamp());

        MatchModel Of(bool organization) => stored.GetValueOrDefault(Kind(organization)) ?? MatchModel.Default(organization, records);
    }

    private static string Kind(bool organization) => organization ? "organization" : "person";

    private static NpgsqlParameter ParameterOf(MatchModel model) => new("model", NpgsqlTypes.NpgsqlDbType.Jsonb)
    {
        Value = JsonSerializer.Serialize(
            new Stored(model.M, model.U, model.MatchesPerRecord, model.Records, StoredTerms.Of(model.Terms.Frequent(FewestOfValue)), model.Households), JsonDefaults.Options),
    };

    private sealed record Stored(double[][] M, double[][] U, double MatchesPerRecord, long Records, StoredTerms Terms, bool Households);

    /// <summary>
    /// As <see cref="TermCounts"/>, each key as <c>#</c> and 16 hexadecimal digits, which is no name, date, address or contact;
    /// an earlier release has the values there.
    /// </summary>
    private sealed record StoredTerms
    {
        public Dictionary<string, int> Given { get; init; } = [];
        public Dictionary<string, int> Family { get; init; } = [];
        public Dictionary<string, int> BirthDate { get; init; } = [];
        public Dictionary<string, int> Address { get; init; } = [];
        public Dictionary<string, int> Contact { get; init; } = [];
        public Dictionary<string, int> Word { get; init; } = [];
        public Dictionary<string, int> Name { get; init; } = [];

        public static StoredTerms Of(TermCounts terms)
        {
            return new()
            {
                Given = Written(terms.Given), Family = Written(terms.Family), BirthDate = Written(terms.BirthDate), Address = Written(terms.Address),
                Contact = Written(terms.Contact), Word = Written(terms.Word), Name = Written(terms.Name),
            };

            static Dictionary<string, int> Written(Dictionary<ulong, int> counts) =>
                counts.ToDictionary(c => string.Create(CultureInfo.InvariantCulture, $"#{c.Key:x16}"), c => c.Value, StringComparer.Ordinal);
        }

        public TermCounts Read()
        {
            return new()
            {
                Given = Keyed(Given), Family = Keyed(Family), BirthDate = Keyed(BirthDate), Address = Keyed(Address), Contact = Keyed(Contact), Word = Keyed(Word), Name = Keyed(Name),
            };

            static Dictionary<ulong, int> Keyed(Dictionary<string, int> stored)
            {
                var counts = new Dictionary<ulong, int>(stored.Count);
                foreach (var (term, count) in stored)
                {
                    counts[KeyIn(term) ?? TermCounts.KeyOf(term)] = count;
                }

                return counts;
            }
        }

        public bool HasTexts() => ((Dictionary<string, int>[])[Given, Family, BirthDate, Address, Contact, Word, Name]).Any(c => c.Keys.Any(t => KeyIn(t) is null));

        /// <summary>Null of a value.</summary>
        private static ulong? KeyIn(string term) =>
            term is ['#', .. { Length: 16 } digits] && ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var key) ? key : null;
    }

    private sealed record Loaded(MatchModel Persons, MatchModel Organizations, long At);
}
