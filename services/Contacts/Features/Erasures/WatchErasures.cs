using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Erasures;

/// <summary>Publishes how many receipts of erasures are missing, and since when the oldest.</summary>
internal sealed class WatchErasures(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<WatchErasures> logger) : RepeatedWork(TimeSpan.FromSeconds(10), clock, logger)
{
    private long _pending;
    private double _oldestAge;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.erasure.receipts_pending", () => _pending, description: "Receipts of erasures that services have not sent yet");
        Telemetry.Meter.CreateObservableGauge("crm.erasure.oldest_age", () => _oldestAge, "s", "Age of the oldest erasure that waits for a receipt");
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            SELECT coalesce(sum(@services - received), 0)::bigint, coalesce(extract(epoch FROM now() - min(asked_at)), 0)::float8
            FROM (
                SELECT asked_at, (SELECT count(*) FROM erasure_receipts r WHERE r.erasure_id = e.id) AS received
                FROM erasures e WHERE status = 'running') AS waiting
            """);
        command.Parameters.Add(new NpgsqlParameter<long>("services", Domain.Merges.Merge.Services.Count));
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        _pending = reader.GetInt64(0);
        _oldestAge = reader.GetDouble(1);
    }
}
