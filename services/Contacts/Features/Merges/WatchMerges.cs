using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Merges;

/// <summary>Publishes how many receipts of merges and undos are missing, and since when the oldest.</summary>
internal sealed partial class WatchMerges(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<WatchMerges> logger) : BackgroundService
{
    private long _pending;
    private double _oldestAge;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.merge.receipts_pending", () => _pending, description: "Receipts of merges and their undos that services have not sent yet");
        Telemetry.Meter.CreateObservableGauge("crm.merge.oldest_age", () => _oldestAge, "s", "Age of the oldest merge or undo that waits for a receipt");
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), clock);
        do
        {
            try
            {
                using var quiet = OpenTelemetry.SuppressInstrumentationScope.Begin();
                await MeasureAsync(stoppingToken);
            }
            catch (NpgsqlException exception)
            {
                LogSkipped(exception.Message);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private async Task MeasureAsync(CancellationToken ct)
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

    [LoggerMessage(LogLevel.Warning, "Merges were not measured: {Reason}")]
    private partial void LogSkipped(string reason);
}
