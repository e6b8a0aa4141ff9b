using System.Globalization;
using Crm.Runner;
using Crm.Runner.Images;

namespace Crm.Testing.Containers;

/// <summary>PostgreSQL and RabbitMQ as containers that Testcontainers runs.</summary>
internal sealed class ContainerServers : IServers
{
    /// <summary>The version of the engine's API that Testcontainers asks for; an older engine refuses it.</summary>
    private static readonly Version Asked = new(1, 44);

    private readonly TestEngine _engine;

    public ContainerServers(TestEngine engine)
    {
        _engine = engine;
        // The variable that it reads, once, when it is first used.
        if (Environment.GetEnvironmentVariable("DOCKER_API_VERSION") is null && engine.ApiVersion < Asked)
            Environment.SetEnvironmentVariable("DOCKER_API_VERSION", engine.ApiVersion.ToString());
    }

    public async Task<PostgresServer> StartPostgresAsync(PostgresOptions options, CancellationToken ct = default)
    {
        var postgres = new ContainerPostgres(_engine, options);
        await StartAsync(postgres, () => postgres.StartAgainAsync(ct));
        return postgres;
    }

    public async Task<RabbitMqServer> StartRabbitMqAsync(RabbitMqOptions options, CancellationToken ct = default)
    {
        var rabbit = new ContainerRabbitMq(_engine, options);
        await StartAsync(rabbit, () => rabbit.StartAgainAsync(ct));
        return rabbit;
    }

    private static async Task StartAsync(IAsyncDisposable server, Func<Task> start)
    {
        try
        {
            await start();
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }
}

internal sealed class ContainerPostgres : PostgresServer
{
    private readonly ServerContainer _container;

    public ContainerPostgres(TestEngine engine, PostgresOptions options)
        : base(options) => _container = new ServerContainer(
            engine,
            engine.Postgres,
            Options.LogFile,
            new Dictionary<string, string>
            {
                ["POSTGRES_USER"] = Superuser,
                ["POSTGRES_PASSWORD"] = Options.Password,
                ["POSTGRES_DB"] = "postgres",
                ["POSTGRES_INITDB_ARGS"] = "--auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8" + (Options.Durable ? "" : " --no-sync"),
            },
            ["postgres", .. Settings.SelectMany(s => new[] { "-c", s })]);

    public override ValueTask DisposeAsync() => _container.DisposeAsync();

    protected override async Task<IServerProcess> LaunchAsync(CancellationToken ct)
    {
        await _container.StartAsync(ct);
        return _container;
    }
}

internal sealed class ContainerRabbitMq : RabbitMqServer
{
    private readonly ServerContainer _container;

    public ContainerRabbitMq(TestEngine engine, RabbitMqOptions options)
        : base(options)
    {
        const string loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        _container = new ServerContainer(
            engine,
            engine.RabbitMq,
            Options.LogFile,
            new Dictionary<string, string>
            {
                ["RABBITMQ_DEFAULT_VHOST"] = VirtualHost,
                ["RABBITMQ_DEFAULT_USER"] = User,
                ["RABBITMQ_DEFAULT_PASS"] = Options.Password,
                ["RABBITMQ_NODENAME"] = "crm@localhost",
                ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
                ["RABBITMQ_NODE_PORT"] = Options.Port.ToString(CultureInfo.InvariantCulture),
                ["RABBITMQ_DIST_PORT"] = FreePort.Next().ToString(CultureInfo.InvariantCulture),
                ["RABBITMQ_LOGS"] = "-",
                // Those of the public image listen on a port of their own.
                ["RABBITMQ_ENABLED_PLUGINS_FILE"] = "/etc/rabbitmq/none",
                // The start script becomes the Erlang machine instead of waiting for it: signals reach it.
                ["RABBITMQ_ALLOW_INPUT"] = "1",
                ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-noinput " + loopback,
                ["RABBITMQ_CTL_ERL_ARGS"] = loopback,
                ["ERL_EPMD_PORT"] = FreePort.Next().ToString(CultureInfo.InvariantCulture),
                ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
                ["ERL_CRASH_DUMP_SECONDS"] = "0",
            },
            "rabbitmq-server");
    }

    public override async Task<string> ControlAsync(IReadOnlyList<string> arguments, CancellationToken ct = default)
    {
        var (exit, output) = await _container.RunAsync(["rabbitmqctl", "--quiet", .. arguments], ct);
        return exit == 0 ? output : throw new InvalidOperationException($"rabbitmqctl {string.Join(' ', arguments)}: {output}");
    }

    public override async Task ImportDefinitionsAsync(string file, CancellationToken ct = default)
    {
        const string inside = "/tmp/definitions.json";
        await _container.CopyAsync(await File.ReadAllBytesAsync(file, ct), inside, ct);
        await ControlAsync(["import_definitions", inside], ct);
    }

    public override ValueTask DisposeAsync() => _container.DisposeAsync();

    protected override async Task<IServerProcess> LaunchAsync(CancellationToken ct)
    {
        await _container.StartAsync(ct);
        return _container;
    }
}
