using MassTransit;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Starts the bus anew when its consumers have not been connected for a while though the broker answers: MassTransit keeps
/// a connection that is cut in the moment of its making, and tries for ever to consume on it ("Already closed").
/// </summary>
internal sealed partial class BusWatch(IBusControl bus, IOptions<BusOptions> options, ServiceName service, TimeProvider clock, ILogger<BusWatch> logger) : BackgroundService
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(2);

    /// <summary>Longer than consumers need to come back by themselves.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        long? unhealthySince = null;
        while (!stoppingToken.IsCancellationRequested)
        {
            await Task.Delay(Look, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (bus.CheckHealth().Status == BusHealthStatus.Healthy)
            {
                unhealthySince = null;
                continue;
            }

            unhealthySince ??= clock.GetTimestamp();
            if (clock.GetElapsedTime(unhealthySince.Value) >= Patience && await AnswersAsync(stoppingToken))
            {
                await RestartAsync(stoppingToken);
                unhealthySince = null;
            }
        }
    }

    private async Task<bool> AnswersAsync(CancellationToken ct)
    {
        try
        {
            await using var link = await BrokerLink.OpenAsync(options.Value, service.Value, ct);
            return true;
        }
        catch (Exception)
        {
            // Nobody could be connected; the bus tries by itself.
            return false;
        }
    }

    private async Task RestartAsync(CancellationToken ct)
    {
        LogRestart(bus.CheckHealth().Description);
        try
        {
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(ct))
            {
                limit.CancelAfter(Limit);
                await bus.StopAsync(limit.Token);
            }

            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(ct))
            {
                limit.CancelAfter(Limit);
                await bus.StartAsync(limit.Token);
            }
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            LogFailed(exception);
        }
        catch (OperationCanceledException)
        {
            // The process ends.
        }
    }

    [LoggerMessage(LogLevel.Warning, "The consumers are not connected though the broker answers; the bus is started anew ({Reason})")]
    private partial void LogRestart(string reason);

    [LoggerMessage(LogLevel.Error, "The bus could not be started anew, and is tried again")]
    private partial void LogFailed(Exception exception);
}
