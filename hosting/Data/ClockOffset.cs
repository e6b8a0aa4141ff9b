using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>
/// Publishes how far the process's clock is ahead of its database's; nothing while the database does not answer. The instant
/// that it answers is taken to lie in the middle of the question's round trip (Cristian 1989), so that the error is at most half of it.
/// </summary>
internal sealed class ClockOffset(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<ClockOffset> logger) : RepeatedWork(TimeSpan.FromSeconds(10), clock, logger)
{
    /// <summary>A longer one says too little: the alert ClockWrong begins at as much.</summary>
    private const int LongestRoundTripSeconds = 2;

    private double _offset = double.NaN;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        Telemetry.Meter.CreateObservableGauge<double>("crm.clock.offset", Observe, "s", "How far this clock is ahead of the database's");
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        var offset = double.NaN;
        try
        {
            // One of the pool, asked for before the time is taken: others may have to give it back first.
            await using var connection = await dataSource.OpenConnectionAsync(ct);
            await using var command = new NpgsqlCommand("SELECT clock_timestamp()", connection) { CommandTimeout = LongestRoundTripSeconds };
            var (asked, start) = (Clock.GetUtcNow().UtcDateTime, Clock.GetTimestamp());
            var database = (DateTime)(await command.ExecuteScalarAsync(ct))!;
            var roundTrip = Clock.GetElapsedTime(start);
            if (roundTrip.TotalSeconds <= LongestRoundTripSeconds)
            {
                offset = (asked + (roundTrip / 2) - database).TotalSeconds;
            }
        }
        finally
        {
            _offset = offset;
        }
    }

    private IEnumerable<Measurement<double>> Observe()
    {
        var offset = _offset;
        return double.IsNaN(offset) ? [] : [new Measurement<double>(offset)];
    }
}
