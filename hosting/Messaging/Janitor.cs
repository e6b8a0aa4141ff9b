using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Messaging;

/// <summary>Forgets inbox rows after 14 days and stored answers after two, a thousand at a time; publishes the outbox gauges.</summary>
internal sealed class Janitor(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<Janitor> logger) : RepeatedWork(TimeSpan.FromSeconds(10), clock, logger)
{
    private long _pending;
    private double _oldestAge;
    private long _dead;
    private long _rounds;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.outbox.pending", () => _pending, description: "Events not yet confirmed by the broker; no more than 100,000 are counted");
        Telemetry.Meter.CreateObservableGauge("crm.outbox.oldest_age", () => _oldestAge, "s", "Age of the oldest event not yet confirmed");
        Telemetry.Meter.CreateObservableGauge("crm.dead_letters", () => _dead, description: "Messages on the dead-letter list");
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        await MeasureAsync(ct);
        if (_rounds++ % 360 == 0)
        {
            await DeleteAsync("inbox", "received_at < now() - interval '14 days'", ct);
            await DeleteAsync("idempotency", "created_at < now() - interval '48 hours'", ct);
        }
    }

    private async Task MeasureAsync(CancellationToken ct)
    {
        await using var command = dataSource.CreateCommand("""
            SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS counted),
                   (SELECT coalesce(extract(epoch FROM now() - min(oldest)), 0)::float8
                    FROM outbox_partition p, LATERAL (SELECT min(created_at) AS oldest FROM outbox WHERE partition = p.id) AS first),
                   (SELECT count(*) FROM dead_letter)
            """);
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        _pending = reader.GetInt64(0);
        _oldestAge = reader.GetDouble(1);
        _dead = reader.GetInt64(2);
    }

    private async Task DeleteAsync(string table, string condition, CancellationToken ct)
    {
        int deleted;
        do
        {
            await using var command = dataSource.CreateCommand(
                $"DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {table} WHERE {condition} LIMIT 1000))");
            deleted = await command.ExecuteNonQueryAsync(ct);
        }
        while (deleted > 0);
    }
}
