using System.Globalization;

namespace Crm.Runner;

/// <summary>
/// A RabbitMQ node of its own on loopback: own name, data, log, cookie, port mapper (epmd) and distribution port, one
/// virtual host "crm" with one user, no guest.
/// </summary>
public sealed class PrivateRabbitMq : RabbitMqServer
{
    private const string Server = "/usr/lib/rabbitmq/bin/rabbitmq-server", Control = "/usr/lib/rabbitmq/bin/rabbitmqctl";

    private Dictionary<string, string?> _environment = [];

    private PrivateRabbitMq(RabbitMqOptions options)
        : base(options)
    {
    }

    /// <summary>The port mapper; RabbitMQ would start one itself that outlives it and belongs to nobody.</summary>
    public OwnedProcess Mapper { get; private set; } = null!;

    public override Uri? Metrics => Options.MetricsPort is { } port ? new Uri($"http://127.0.0.1:{port}/") : null;

    public static async Task<PrivateRabbitMq> StartAsync(RabbitMqOptions options, CancellationToken ct = default)
    {
        RequireInstalled();
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

    public override async Task<string> ControlAsync(IReadOnlyList<string> arguments, CancellationToken ct = default)
    {
        var result = await Shell.RunAsync([Control, "--quiet", .. arguments], _environment, ct: ct);
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"rabbitmqctl {string.Join(' ', arguments)}: {result.Output}");
    }

    public override Task ImportDefinitionsAsync(string file, CancellationToken ct = default) => ControlAsync(["import_definitions", file], ct);

    public override async ValueTask DisposeAsync()
    {
        await Process.KillAsync();
        await Mapper.KillAsync();
        GC.SuppressFinalize(this);
    }

    protected override Task<IServerProcess> LaunchAsync(CancellationToken ct)
    {
        var process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "rabbitmq",
            Command = [Server],
            LogFile = Options.LogFile,
            WorkingFolder = Options.Folder,
            Environment = Marked("rabbitmq"),
            EndWithCaller = Options.EndWithCaller,
        });
        Options.Installation?.Record(process);
        return Task.FromResult<IServerProcess>(process);
    }

    private async Task ConfigureAsync()
    {
        var folder = Options.Folder;
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
        var metrics = Options.MetricsPort is { } port ? $"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n" : "";
        await SecretFile.WriteAsync(configuration, $"""
            listeners.tcp.1 = 127.0.0.1:{Options.Port}
            default_vhost = {VirtualHost}
            default_user = {User}
            default_pass = {Options.Password}
            default_permissions.configure = .*
            default_permissions.read = .*
            default_permissions.write = .*
            log.console = true
            log.file = false
            """ + "\n" + metrics);
        await File.WriteAllTextAsync(Path.Combine(folder, "enabled_plugins"), Options.MetricsPort is null ? "[].\n" : "[rabbitmq_prometheus].\n");

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
            LogFile = Options.LogFile,
            WorkingFolder = Options.Folder,
            Environment = Marked("rabbitmq-epmd"),
            EndWithCaller = Options.EndWithCaller,
        });
        Options.Installation?.Record(Mapper);
    }

    private Dictionary<string, string?> Marked(string name)
    {
        var environment = new Dictionary<string, string?>(_environment);
        foreach (var (variable, value) in Options.Installation?.MarkOf(name) ?? [])
            environment[variable] = value;
        return environment;
    }
}
