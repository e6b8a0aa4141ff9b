namespace Crm.Runner;

/// <summary>A server that was started here, whatever it runs as: killed, ended and started again on the same data and port.</summary>
public abstract class OwnServer : IAsyncDisposable
{
    /// <summary>The postmaster; the Erlang machine that is the broker.</summary>
    public IServerProcess Process { get; protected set; } = null!;

    /// <summary>kill -9 of all of it.</summary>
    public Task KillAsync() => Process.KillAsync();

    /// <returns>Whether it ended by itself.</returns>
    public abstract Task<bool> StopAsync();

    /// <summary>After <see cref="KillAsync"/> or <see cref="StopAsync"/>.</summary>
    public async Task StartAgainAsync(CancellationToken ct = default)
    {
        Process = await LaunchAsync(ct);
        await WaitUntilAnsweringAsync(ct);
    }

    public abstract ValueTask DisposeAsync();

    /// <summary>Starts the server on its data, which are made on the first call.</summary>
    protected abstract Task<IServerProcess> LaunchAsync(CancellationToken ct);

    /// <exception cref="RunnerException">It ended, or does not answer.</exception>
    protected internal abstract Task WaitUntilAnsweringAsync(CancellationToken ct);
}
