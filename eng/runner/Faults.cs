namespace Crm.Runner;

/// <summary>Ends parts of a platform by kill -9, one at a time, and starts them again.</summary>
/// <param name="withServers">The broker, its connections and the database too, not only the services and the gateway.</param>
public sealed class Faults(Platform platform, bool withServers, Action<string> tell)
{
    private readonly Lock _gate = new();
    private readonly List<string> _injected = [];
    private Task _last = Task.CompletedTask;

    /// <summary>The parts that were ended, in their order.</summary>
    public IReadOnlyList<string> Injected
    {
        get
        {
            lock (_gate)
                return [.. _injected];
        }
    }

    private string[] Parts => [.. platform.Services.Keys, .. withServers ? (string[])["connections", "rabbitmq", "postgres"] : []];

    /// <summary>A random part every few seconds until it is stopped; all parts run then.</summary>
    public async Task RunAsync(TimeSpan pause, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await Task.Delay(pause * (0.5 + Random.Shared.NextDouble()), stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!stop.IsCancellationRequested)
                await InjectAsync(Parts[Random.Shared.Next(Parts.Length)], pause * Random.Shared.NextDouble() / 2);
        }
    }

    /// <summary>Every part once, one after the other.</summary>
    public async Task RunRoundAsync(TimeSpan pause, CancellationToken ct)
    {
        foreach (var part in Parts)
        {
            await Task.Delay(pause, ct);
            await InjectAsync(part, pause / 3);
        }
    }

    /// <summary>When what is being ended runs again.</summary>
    /// <param name="part">A service, or <c>connections</c>, <c>rabbitmq</c>, <c>postgres</c>.</param>
    /// <param name="down">How long before it is started again.</param>
    public Task InjectAsync(string part, TimeSpan down)
    {
        lock (_gate)
            return _last = NextAsync(_last, part, down);
    }

    private async Task NextAsync(Task before, string part, TimeSpan down)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        tell(part == "connections" ? "connections to the broker cut" : $"kill -9 {part}");
        lock (_gate)
            _injected.Add(part);
        switch (part)
        {
            case "connections":
                await platform.RabbitMq!.CloseConnectionsAsync();
                break;
            case "rabbitmq":
                await platform.RabbitMq!.KillAsync();
                await Task.Delay(down);
                await platform.RabbitMq.StartAgainAsync();
                break;
            case "postgres":
                await platform.Postgres!.KillAsync();
                await Task.Delay(down);
                await platform.Postgres.StartAgainAsync();
                break;
            default:
                await platform[part].KillAsync();
                await Task.Delay(down);
                await platform[part].StartAsync();
                break;
        }
    }
}
