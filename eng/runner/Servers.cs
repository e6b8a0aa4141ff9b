namespace Crm.Runner;

/// <summary>Where the PostgreSQL and the RabbitMQ of a platform or of a test come from.</summary>
public interface IServers
{
    Task<PostgresServer> StartPostgresAsync(PostgresOptions options, CancellationToken ct = default);

    Task<RabbitMqServer> StartRabbitMqAsync(RabbitMqOptions options, CancellationToken ct = default);
}

/// <summary>Processes of the programs that are installed here.</summary>
public sealed class LocalServers : IServers
{
    public async Task<PostgresServer> StartPostgresAsync(PostgresOptions options, CancellationToken ct = default) => await PrivatePostgres.StartAsync(options, ct);

    public async Task<RabbitMqServer> StartRabbitMqAsync(RabbitMqOptions options, CancellationToken ct = default) => await PrivateRabbitMq.StartAsync(options, ct);
}

/// <summary>What a server runs as, to be killed, frozen and ended by whoever started it: a process, or a container.</summary>
public interface IServerProcess
{
    Task<bool> IsAliveAsync();

    /// <summary>kill -9 of all of it; returns when it is gone.</summary>
    Task KillAsync();

    /// <summary>SIGTERM, or SIGINT where that is the program's word for a quick clean end; SIGKILL when the time is over.</summary>
    /// <returns>Whether it ended by itself.</returns>
    Task<bool> StopAsync(TimeSpan grace, bool interrupt = false);

    /// <summary>It hangs but holds its connections, until <see cref="ThawAsync"/>.</summary>
    Task FreezeAsync();

    Task ThawAsync();
}
