using Crm.Runner;
using Xunit;

namespace Crm.Testing;

/// <summary>A PostgreSQL of its own, and a RabbitMQ when it is asked for, without services; for the tests of one service.</summary>
public class ServersFixture : IAsyncLifetime
{
    private readonly string _password = SecretText.New();
    private readonly SemaphoreSlim _gate = new(1, 1);
    private string _folder = "";
    private RabbitMqServer? _rabbit;
    private int _databases;

    public PostgresServer Postgres { get; private set; } = null!;

    public virtual async ValueTask InitializeAsync()
    {
        _folder = Reaper.TemporaryFolder("servers");
        Postgres = await (await TestServers.GetAsync()).StartPostgresAsync(
            new PostgresOptions
            {
                Folder = Path.Combine(_folder, "postgres"),
                LogFile = Path.Combine(_folder, "postgres.log"),
                Password = _password,
                Durable = false,
                EndWithCaller = true,
            },
            TestContext.Current.CancellationToken);
    }

    /// <summary>Started on the first call: a test that needs no broker does not wait for one.</summary>
    public async Task<RabbitMqServer> RabbitMqAsync(CancellationToken ct = default)
    {
        await _gate.WaitAsync(ct);
        try
        {
            return _rabbit ??= await (await TestServers.GetAsync()).StartRabbitMqAsync(
                new RabbitMqOptions
                {
                    Folder = Path.Combine(_folder, "rabbitmq"),
                    LogFile = Path.Combine(_folder, "rabbitmq.log"),
                    Password = _password,
                    EndWithCaller = true,
                },
                ct);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>A new empty database with an owner of its own.</summary>
    /// <returns>The owner's connection string.</returns>
    public Task<string> CreateDatabaseAsync(string prefix = "test", CancellationToken ct = default) =>
        Postgres.CreateDatabaseAsync($"{prefix}_{Interlocked.Increment(ref _databases)}", _password, ct);

    public virtual async ValueTask DisposeAsync()
    {
        if (_rabbit is not null)
            await _rabbit.DisposeAsync();
        if (Postgres is not null)
            await Postgres.DisposeAsync();
        _gate.Dispose();
        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }
}
