using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Crm.Runner;

public sealed record RabbitMqOptions
{
    public required string Folder { get; init; }

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; }

    public required string LogFile { get; init; }

    public required string Password { get; init; }

    public bool EndWithCaller { get; init; }

    /// <summary>Whose processes they are: marked in their environment, and recorded as soon as they are started.</summary>
    public Installation? Installation { get; init; }
}

/// <summary>
/// A RabbitMQ node of its own on loopback: own name, data, log, cookie, port mapper (epmd) and distribution port, one
/// virtual host "crm" with one user, no guest.
/// </summary>
public sealed class PrivateRabbitMq : IAsyncDisposable
{
    private const string VirtualHost = "crm", User = "crm";
    private const string Server = "/usr/lib/rabbitmq/bin/rabbitmq-server", Control = "/usr/lib/rabbitmq/bin/rabbitmqctl";

    private readonly RabbitMqOptions _options;
    private Dictionary<string, string?> _environment = [];

    private PrivateRabbitMq(RabbitMqOptions options) => _options = options;

    public int Port => _options.Port;

    /// <summary>The Erlang machine that is the broker.</summary>
    public OwnedProcess Process { get; private set; } = null!;

    /// <summary>The port mapper; RabbitMQ would start one itself that outlives it and belongs to nobody.</summary>
    public OwnedProcess Mapper { get; private set; } = null!;

    public string Uri => $"amqp://{User}:{_options.Password}@127.0.0.1:{_options.Port}/{VirtualHost}";

    public static async Task<PrivateRabbitMq> StartAsync(RabbitMqOptions options, CancellationToken ct = default)
    {
        RequireInstalled();
        if (options.Port == 0)
            options = options with { Port = FreePort.Next() };
        var rabbit = new PrivateRabbitMq(options);
        await rabbit.ConfigureAsync();
        rabbit.StartMapper();
        await rabbit.StartAgainAsync(ct);
        return rabbit;
    }

    /// <summary>The processes of a node that already runs.</summary>
    public static PrivateRabbitMq TakeOver(RabbitMqOptions options, OwnedProcess broker, OwnedProcess mapper)
    {
        // Its port mapper, name and cookie are those of its own start.
        var environment = File.ReadAllText($"/proc/{broker.Pid}/environ").Split('\0').Select(v => v.Split('=', 2))
            .Where(v => v.Length == 2 && (v[0] == "HOME" || v[0].StartsWith("RABBITMQ_", StringComparison.Ordinal) || v[0].StartsWith("ERL_", StringComparison.Ordinal)))
            .ToDictionary(v => v[0], v => (string?)v[1]);
        return new(options) { Process = broker, Mapper = mapper, _environment = environment };
    }

    public static void RequireInstalled()
    {
        if (!File.Exists(Server))
            throw new RunnerException("RabbitMQ is not installed.", "Run ./crm up or ./crm test, which install it, or: apt-get install rabbitmq-server");
    }

    public Task KillAsync() => Process.KillAsync();

    /// <summary>After <see cref="KillAsync"/> or <see cref="StopAsync"/>: the same data on the same port.</summary>
    public async Task StartAgainAsync(CancellationToken ct = default)
    {
        Process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "rabbitmq",
            Command = [Server],
            LogFile = _options.LogFile,
            WorkingFolder = _options.Folder,
            Environment = Marked("rabbitmq"),
            EndWithCaller = _options.EndWithCaller,
        });
        _options.Installation?.Record(Process);
        await WaitUntilAnsweringAsync(ct);
    }

    public async Task RestartAsync(CancellationToken ct = default)
    {
        await StopAsync();
        await StartAgainAsync(ct);
    }

    public Task<bool> StopAsync() => Process.StopAsync(TimeSpan.FromSeconds(30));

    /// <summary>rabbitmqctl against this node, e.g. "list_queues", "name", "messages".</summary>
    public async Task<string> ControlAsync(IReadOnlyList<string> arguments, CancellationToken ct = default)
    {
        var result = await Shell.RunAsync([Control, "--quiet", .. arguments], _environment, ct: ct);
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"rabbitmqctl {string.Join(' ', arguments)}: {result.Output}");
    }

    /// <summary>Messages in each queue, those that a consumer has and has not acknowledged included; null where the queue does not say.</summary>
    public async Task<IReadOnlyDictionary<string, long?>> QueueDepthsAsync(CancellationToken ct = default) =>
        (await ControlAsync(["list_queues", "-p", VirtualHost, "--no-table-headers", "name", "messages"], ct))
        .Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(l => l.Split('\t'))
        .ToDictionary(l => l[0], l => l is [_, var messages] && long.TryParse(messages, CultureInfo.InvariantCulture, out var count) ? count : (long?)null);

    /// <summary>Cuts all client connections from the broker's side.</summary>
    public Task CloseConnectionsAsync(CancellationToken ct = default) => ControlAsync(["close_all_connections", "fault injected"], ct);

    public async ValueTask DisposeAsync()
    {
        await Process.KillAsync();
        await Mapper.KillAsync();
        GC.SuppressFinalize(this);
    }

    private async Task ConfigureAsync()
    {
        var folder = _options.Folder;
        var home = Path.Combine(folder, "home");
        Directory.CreateDirectory(home);
        File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

        var cookie = Path.Combine(home, ".erlang.cookie");
        if (!File.Exists(cookie))
        {
            await SecretFile.WriteAsync(cookie, SecretText.New(40));
            File.SetUnixFileMode(cookie, UnixFileMode.UserRead);
        }

        var configuration = Path.Combine(folder, "rabbitmq.conf");
        await SecretFile.WriteAsync(configuration, $"""
            listeners.tcp.1 = 127.0.0.1:{_options.Port}
            default_vhost = {VirtualHost}
            default_user = {User}
            default_pass = {_options.Password}
            default_permissions.configure = .*
            default_permissions.read = .*
            default_permissions.write = .*
            log.console = true
            log.file = false
            """ + "\n");
        await File.WriteAllTextAsync(Path.Combine(folder, "enabled_plugins"), "[].\n");

        var (mapper, distribution) = (FreePort.Next(), FreePort.Next());
        // The data folder carries the node's name, so the name must stay.
        const string node = "crm@localhost";
        var data = Path.Combine(folder, "data");
        _environment = new Dictionary<string, string?>
        {
            ["HOME"] = home,
            ["RABBITMQ_NODENAME"] = node,
            ["RABBITMQ_CONF_ENV_FILE"] = Path.Combine(folder, "none.conf"),
            ["RABBITMQ_CONFIG_FILE"] = configuration,
            ["RABBITMQ_ADVANCED_CONFIG_FILE"] = Path.Combine(folder, "none.config"),
            ["RABBITMQ_GENERATED_CONFIG_DIR"] = Path.Combine(folder, "generated"),
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(folder, "enabled_plugins"),
            ["RABBITMQ_PLUGINS_EXPAND_DIR"] = Path.Combine(folder, "plugins-expand"),
            ["RABBITMQ_MNESIA_BASE"] = data,
            ["RABBITMQ_MNESIA_DIR"] = Path.Combine(data, "node"),
            ["RABBITMQ_FEATURE_FLAGS_FILE"] = Path.Combine(data, "feature_flags"),
            ["RABBITMQ_LOG_BASE"] = folder,
            ["RABBITMQ_LOGS"] = "-",
            ["RABBITMQ_PID_FILE"] = Path.Combine(folder, "node.pid"),
            ["RABBITMQ_DIST_PORT"] = distribution.ToString(CultureInfo.InvariantCulture),
            // The start script becomes the Erlang machine instead of waiting for it: its id is the broker's.
            ["RABBITMQ_ALLOW_INPUT"] = "1",
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
            ["RABBITMQ_CTL_ERL_ARGS"] = "-kernel inet_dist_use_interface {127,0,0,1}",
            ["ERL_EPMD_PORT"] = mapper.ToString(CultureInfo.InvariantCulture),
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["ERL_CRASH_DUMP_SECONDS"] = "0",
        };
        Directory.CreateDirectory(data);
    }

    private void StartMapper()
    {
        Mapper = OwnedProcess.Start(new ProcessSpec
        {
            Name = "rabbitmq-epmd",
            Command = ["epmd"],
            LogFile = _options.LogFile,
            WorkingFolder = _options.Folder,
            Environment = Marked("rabbitmq-epmd"),
            EndWithCaller = _options.EndWithCaller,
        });
        _options.Installation?.Record(Mapper);
    }

    private Dictionary<string, string?> Marked(string name)
    {
        var environment = new Dictionary<string, string?>(_environment);
        foreach (var (variable, value) in _options.Installation?.MarkOf(name) ?? [])
            environment[variable] = value;
        return environment;
    }

    internal async Task WaitUntilAnsweringAsync(CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        while (!await AnswersAsync(ct))
        {
            if (!Process.IsAlive)
                throw new RunnerException($"RabbitMQ ended while starting:\n{Process.LogTail(15)}", $"The whole log is {_options.LogFile}.");
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(120))
                throw new RunnerException($"RabbitMQ does not answer on port {_options.Port} after 120 s.", $"The log is {_options.LogFile}.");
            await Task.Delay(100, ct);
        }
    }

    /// <summary>Whether the port greets as AMQP 0-9-1 does: a method frame on channel 0, connection.start.</summary>
    private async Task<bool> AnswersAsync(CancellationToken ct)
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, _options.Port, ct);
            var stream = client.GetStream();
            await stream.WriteAsync("AMQP\0\0\u0009\u0001"u8.ToArray(), ct);
            var header = new byte[1];
            return await stream.ReadAsync(header, ct) == 1 && header[0] == 1;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return false;
        }
    }
}
