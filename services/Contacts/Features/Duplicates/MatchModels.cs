using Crm.Contacts.Domain.Matching;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>The parameters by which pairs are scored, read once a minute: the defaults, for as many customers as there are.</summary>
internal sealed class MatchModels(NpgsqlDataSource dataSource, TimeProvider clock)
{
    private const int FewestRecords = 1000;
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

    private async Task<Loaded> LoadAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("SELECT reltuples::bigint FROM pg_class WHERE oid = 'customers'::regclass");
        var records = Math.Max(FewestRecords, (long)(await command.ExecuteScalarAsync(ct))!);
        return new(MatchModel.Default(organization: false, records), MatchModel.Default(organization: true, records), clock.GetTimestamp());
    }

    private sealed record Loaded(MatchModel Persons, MatchModel Organizations, long At);
}
