using MassTransit;
using MassTransit.RabbitMqTransport.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Crm.Hosting.Messaging;

/// <summary>How the bus of a service is made: its queues, and what every message passes through.</summary>
internal delegate void ConfigureBus(IBusRegistrationContext context, IRabbitMqBusFactoryConfigurator bus);

/// <summary>
/// Runs the bus that the consumers are on, and puts a new one in its place when they have not been connected for a while
/// though the broker answers: MassTransit keeps a connection that is cut in the moment of its making, and tries for ever
/// to consume on it ("Already closed"). Such a bus cannot be started a second time either ("the host was already started").
/// </summary>
internal sealed partial class ConsumerBus(
    IBusRegistrationContext context,
    ConfigureBus configure,
    IOptions<BusOptions> options,
    ServiceName service,
    TimeProvider clock,
    ILogger<ConsumerBus> logger) : BackgroundService
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(2);

    /// <summary>Longer than consumers need to come back by themselves; doubled for each bus that did not come up in it.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(12);

    private static readonly TimeSpan LongestPatience = TimeSpan.FromMinutes(2);

    /// <summary>For what is under way when the process ends.</summary>
    private static readonly TimeSpan Drain = TimeSpan.FromSeconds(20);

    /// <summary>For a bus that is given up: one cancel of a consumer on a dead channel takes the client 20 s.</summary>
    private static readonly TimeSpan Farewell = TimeSpan.FromMinutes(2);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var (bus, patience) = (Begin(), Patience);
        var healthyAt = clock.GetTimestamp();
        while (!stoppingToken.IsCancellationRequested)
        {
            await Task.Delay(Look, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            var health = bus.Control.CheckHealth();
            if (health.Status == BusHealthStatus.Healthy)
            {
                (healthyAt, patience) = (clock.GetTimestamp(), Patience);
            }
            else if (clock.GetElapsedTime(healthyAt) >= patience && await AnswersAsync(stoppingToken))
            {
                LogReplaced(health.Description);
                _ = EndAsync(bus, Farewell);
                bus = Begin();
                healthyAt = clock.GetTimestamp();
                patience = patience * 2 < LongestPatience ? patience * 2 : LongestPatience;
            }
        }

        await EndAsync(bus, Drain);
    }

    private Running Begin()
    {
        var control = new RabbitMqRegistrationBusFactory(new(configure)).CreateBus(context, [], service.Value).BusControl;
        var given = new CancellationTokenSource();
        return new(control, StartAsync(control, given.Token), given);
    }

    /// <summary>Ends when all consumers are connected, however long the broker is away.</summary>
    private async Task StartAsync(IBusControl control, CancellationToken ct)
    {
        try
        {
            await control.StartAsync(ct);
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            LogNotStarted(exception);
        }
        catch (OperationCanceledException)
        {
            // It is given up.
        }
    }

    private async Task EndAsync(Running bus, TimeSpan within)
    {
        using var limit = new CancellationTokenSource(within, clock);
        try
        {
            await bus.GivenUp.CancelAsync();
            await bus.Started;
            await bus.Control.StopAsync(limit.Token);
        }
        catch (Exception exception)
        {
            // Its connection is dead, or it has had its time; what it had not acknowledged is delivered again.
            LogNotStopped(exception.GetType().Name, exception.Message);
        }
        finally
        {
            bus.GivenUp.Dispose();
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

    [LoggerMessage(LogLevel.Warning, "The consumers are not connected though the broker answers; a new bus takes the place of theirs ({Reason})")]
    private partial void LogReplaced(string reason);

    [LoggerMessage(LogLevel.Error, "The bus could not be started; a new one follows")]
    private partial void LogNotStarted(Exception exception);

    [LoggerMessage(LogLevel.Information, "A bus did not stop in order ({Error}: {Detail})")]
    private partial void LogNotStopped(string error, string detail);

    private sealed record Running(IBusControl Control, Task Started, CancellationTokenSource GivenUp);
}
