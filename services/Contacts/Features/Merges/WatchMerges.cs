using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Merges;

/// <summary>Publishes how many receipts of merges and undos are missing, and since when the oldest.</summary>
internal sealed class WatchMerges(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<WatchMerges> logger) : RepeatedWork(TimeSpan.FromSeconds(10), clock, logger)
{
    private long _pending;
    private double _oldestAge;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.merge.receipts_pending", () => _pending, description: "Receipts of merges and their undos that services have not sent yet");
        Telemetry.Meter.CreateObservableGauge("crm.merge.oldest_age", () => _oldestAge, "s", "Age of the oldest merge or undo that waits for a receipt");
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            SELECT coalesce(sum(@services - received), 0)::bigint, coalesce(extract(epoch FROM now() - min(since)), 0)::float8
            FROM (
                SELECT coalesce(undo_asked_at, merged_at) AS since,
                       (SELECT count(*) FROM merge_receipts r WHERE r.merge_id = m.id AND r.phase = CASE m.status WHEN 'running' THEN 'merge' ELSE 'undo' END) AS received
                FROM merges m WHERE status IN ('running', 'undoing')) AS waiting
            """);
        command.Parameters.Add(new NpgsqlParameter<long>("services", Domain.Merges.Merge.Services.Count));
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        _pending = reader.GetInt64(0);
        _oldestAge = reader.GetDouble(1);
    }
}
