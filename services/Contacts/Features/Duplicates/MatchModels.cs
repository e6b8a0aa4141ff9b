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
        command.Parameters.Add(new NpgsqlParameter("model", NpgsqlTypes.NpgsqlDbType.Jsonb)
        {
            Value = JsonSerializer.Serialize(new Stored(model.M, model.U, model.MatchesPerRecord, model.Records, model.Terms.Frequent(FewestOfValue), model.Households), JsonDefaults.Options),
        });
        command.Parameters.Add(new NpgsqlParameter<DateTimeOffset>("now", clock.GetUtcNow()));
        await command.ExecuteNonQueryAsync(ct);
        _loaded = null;
    }

    private async Task<Loaded> LoadAsync(CancellationToken ct)
    {
        var stored = new Dictionary<string, MatchModel>(StringComparer.Ordinal);
        await using (var read = dataSource.CreateCommand("SELECT kind, model FROM duplicate_models"))
        await using (var row = await read.ExecuteReaderAsync(ct))
        {
            while (await row.ReadAsync(ct))
            {
                var model = JsonSerializer.Deserialize<Stored>(row.GetString(1), JsonDefaults.Options)!;
                stored[row.GetString(0)] = new(model.M, model.U, model.MatchesPerRecord, model.Records, model.Terms, model.Households);
            }
        }

        await using var command = dataSource.CreateCommand("SELECT reltuples::bigint FROM pg_class WHERE oid = 'customers'::regclass");
        var records = Math.Max(FewestRecords, (long)(await command.ExecuteScalarAsync(ct))!);
        return new(Of(organization: false), Of(organization: true), clock.GetTimestamp());

        MatchModel Of(bool organization) => stored.GetValueOrDefault(Kind(organization)) ?? MatchModel.Default(organization, records);
    }

    private static string Kind(bool organization) => organization ? "organization" : "person";

    private sealed record Stored(double[][] M, double[][] U, double MatchesPerRecord, long Records, TermCounts Terms, bool Households);

    private sealed record Loaded(MatchModel Persons, MatchModel Organizations, long At);
}
