using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Crm.Hosting.Data;

/// <summary>
/// Publishes whether the process's database answers, and how far the process's clock is ahead of it; of the clock nothing while
/// it does not answer. The instant that it answers is taken to lie in the middle of the question's round trip (Cristian 1989), so
/// that the error is at most half of it.
/// </summary>
internal sealed class DatabaseWatch([FromKeyedServices(Health.Readiness)] NpgsqlDataSource dataSource, TimeProvider clock, ILogger<DatabaseWatch> logger)
    : RepeatedWork(Period, clock, logger)
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(10);

    /// <summary>A longer one says too little of the clock: the alert ClockWrong begins at as much.</summary>
    private static readonly TimeSpan LongestRoundTrip = TimeSpan.FromSeconds(2);

    /// <summary>Null after a question that failed.</summary>
    private Answer? _last;

    /// <summary>Null while the database does not answer; not by the end of the question, which may be long in coming.</summary>
    private Answer? Current => _last is { } last && Clock.GetElapsedTime(last.At) <= Period + LongestRoundTrip ? last : null;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        Telemetry.Meter.CreateObservableGauge("crm.database.up", () => Current is null ? 0 : 1, description: "1 while the own database answers, 0 while it does not");
        Telemetry.Meter.CreateObservableGauge<double>("crm.clock.offset", ObserveClock, "s", "How far this clock is ahead of the database's");
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunAsync(CancellationToken ct)
    {
        Answer? answer = null;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(LongestRoundTrip);
        try
        {
            // Asked for before the time is taken: a probe may have to give it back first.
            await using var connection = await dataSource.OpenConnectionAsync(limit.Token);
            await using var command = new NpgsqlCommand("SELECT clock_timestamp()", connection);
            var (asked, start) = (Clock.GetUtcNow().UtcDateTime, Clock.GetTimestamp());
            var database = (DateTime)(await command.ExecuteScalarAsync(limit.Token))!;
            var end = Clock.GetTimestamp();
            var roundTrip = Clock.GetElapsedTime(start, end);
            answer = new(end, roundTrip <= LongestRoundTrip ? (asked + (roundTrip / 2) - database).TotalSeconds : double.NaN);
        }
        catch (OperationCanceledException exception) when (!ct.IsCancellationRequested)
        {
            // The probes share this connection: nobody holds it longer than one of them waits.
            throw new TimeoutException("The database does not answer.", exception);
        }
        finally
        {
            _last = answer;
        }
    }

    private IEnumerable<Measurement<double>> ObserveClock() =>
        Current is { } answer && !double.IsNaN(answer.Offset) ? [new Measurement<double>(answer.Offset)] : [];

    /// <param name="At">As <see cref="TimeProvider.GetTimestamp"/> has it.</param>
    /// <param name="Offset">In seconds; not a number when it is not known.</param>
    private sealed record Answer(long At, double Offset);
}
