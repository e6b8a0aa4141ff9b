using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Crm.Hosting;

/// <summary>
/// Work that a service does again and again. Whatever a round fails of, the next one tries again: a database that is away
/// or slow must never end the process.
/// </summary>
public abstract partial class RepeatedWork(TimeSpan every, TimeProvider clock, ILogger logger) : BackgroundService
{
    protected TimeProvider Clock => clock;
    protected ILogger Logger => logger;

    /// <summary>One round, at once when the process starts, then every time the period is over. It leaves no spans.</summary>
    protected abstract Task RunAsync(CancellationToken ct);

    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(every, clock);
        do
        {
            await RoundAsync(stoppingToken);
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    /// <summary>A round whose failure is logged.</summary>
    protected async Task RoundAsync(CancellationToken ct)
    {
        try
        {
            using var quiet = OpenTelemetry.SuppressInstrumentationScope.Begin();
            await RunAsync(ct);
        }
        catch (Exception) when (ct.IsCancellationRequested)
        {
            // The process ends; what was under way is done by whoever is next.
        }
        catch (Exception exception)
        {
            LogFailed(GetType().Name, exception.GetType().Name, exception.GetBaseException().Message);
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Work} skipped a round ({Error}: {Detail})")]
    private partial void LogFailed(string work, string error, string detail);
}
