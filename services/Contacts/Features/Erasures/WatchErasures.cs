using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Erasures;

/// <summary>Publishes how many receipts of erasures are missing, and since when the oldest.</summary>
internal sealed partial class WatchErasures(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<WatchErasures> logger) : BackgroundService
{
    private long _pending;
    private double _oldestAge;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.erasure.receipts_pending", () => _pending, description: "Receipts of erasures that services have not sent yet");
        Telemetry.Meter.CreateObservableGauge("crm.erasure.oldest_age", () => _oldestAge, "s", "Age of the oldest erasure that waits for a receipt");
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

    [LoggerMessage(LogLevel.Warning, "Erasures were not measured: {Reason}")]
    private partial void LogSkipped(string reason);
}
