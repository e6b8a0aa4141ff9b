namespace Crm.Runner.Histories;

/// <summary>Ends a random part of a platform by kill -9 every few seconds, and starts it again.</summary>
/// <param name="withServers">The broker, its connections and the database too, not only the services and the gateway.</param>
public sealed class RandomFaults(Platform platform, bool withServers, Action<string> tell)
{
    private readonly List<string> _faults = [];

    public IReadOnlyList<string> Faults => _faults;

    /// <summary>Until it is stopped; all parts run then.</summary>
    public async Task RunAsync(TimeSpan pause, CancellationToken stop)
    {
        string[] parts = [.. platform.Services.Keys, .. withServers ? (string[])["rabbitmq", "postgres", "connections"] : []];
        while (!stop.IsCancellationRequested)
        {
            await Task.Delay(pause * (0.5 + Random.Shared.NextDouble()), stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!stop.IsCancellationRequested)
                await FaultAsync(parts[Random.Shared.Next(parts.Length)], pause * Random.Shared.NextDouble() / 2);
        }
    }

    private async Task FaultAsync(string part, TimeSpan down)
    {
        tell($"kill -9 {part}");
        _faults.Add(part);
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
