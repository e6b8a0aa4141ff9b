using Crm.Hosting.Messaging;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Crm.Hosting;

/// <summary>
/// Work that a service does again and again. Whatever a round fails of, the next one tries again: a database that is away
/// or slow must never end the process.
/// </summary>
/// <param name="every">From the beginning of a round to that of the next; with a signal, from the end of a round at most.</param>
/// <param name="signal">Begins the next round at once.</param>
public abstract partial class RepeatedWork(TimeSpan every, TimeProvider clock, ILogger logger, WakeSignal? signal = null) : BackgroundService
{
    protected TimeProvider Clock => clock;
    protected ILogger Logger => logger;

    /// <summary>After a round of signalled work that failed; no signal makes it shorter.</summary>
    protected virtual TimeSpan PauseAfterFailure => every;

    /// <summary>One round, at once when the process starts, then every time the period is over. It leaves no spans.</summary>
    protected abstract Task RunAsync(CancellationToken ct);

    protected sealed override Task ExecuteAsync(CancellationToken stoppingToken) =>
        signal is null ? RepeatAsync(stoppingToken) : RepeatAsync(signal, stoppingToken);

    /// <summary>A round whose failure is logged; false after one.</summary>
    protected async Task<bool> RoundAsync(CancellationToken ct)
    {
        try
        {
            using var quiet = QuietWork.Begin();
            await RunAsync(ct);
            return true;
        }
        catch (Exception) when (ct.IsCancellationRequested)
        {
            // The process ends; what was under way is done by whoever is next.
        }
        catch (Exception exception) when (Transient.Is(exception))
        {
            // One line: a stack each second, of each work, would say no more.
            LogAway(GetType().Name, exception.GetType().Name, exception.GetBaseException().Message);
        }
        catch (Exception exception)
        {
            LogFailed(exception, GetType().Name);
        }

        return false;
    }

    private async Task RepeatAsync(CancellationToken ct)
    {
        using var timer = new PeriodicTimer(every, clock);
        do
        {
            await RoundAsync(ct);
        }
        while (await timer.WaitForNextTickAsync(ct));
    }

    private async Task RepeatAsync(WakeSignal wake, CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            if (await RoundAsync(ct))
            {
                await wake.WaitAsync(every, ct);
            }
            else
            {
                await Task.Delay(PauseAfterFailure, clock, ct);
            }
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Work} skipped a round ({Error}: {Detail})")]
    private partial void LogAway(string work, string error, string detail);

    [LoggerMessage(LogLevel.Warning, "{Work} skipped a round")]
    private partial void LogFailed(Exception exception, string work);
}
