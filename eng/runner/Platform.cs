using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner;

public sealed record PlatformOptions
{
    public required Topology Topology { get; init; }

    /// <summary>Where data, secrets and logs go.</summary>
    public required string Folder { get; init; }

    public required PortMap Ports { get; init; }

    /// <summary>Of the programs to start; that of the caller, so that a test in Debug runs what it was built with.</summary>
    public string Configuration { get; init; } = AppContext.BaseDirectory.Contains("/bin/Debug/", StringComparison.Ordinal) ? "Debug" : "Release";

    public bool EndWithCaller { get; init; }

    /// <summary>False where nothing is kept or measured: nothing is flushed to disk, and programs are compiled for a short life.</summary>
    public bool Durable { get; init; } = true;

    /// <summary>An existing PostgreSQL, as a connection string of a user who may create roles and databases.</summary>
    public string? ExternalPostgres { get; init; }

    /// <summary>An existing RabbitMQ, as an amqp URI.</summary>
    public string? ExternalRabbitMq { get; init; }

    /// <summary>More environment for every service (such as OTEL_*), or for the one that is named before a colon: "campaigns:Smtp__Port".</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>Distinguishes the logs where several processes of each service share a folder, its secrets and databases.</summary>
    public string Replica { get; init; } = "";

    /// <summary>The services to start; null is all.</summary>
    public IReadOnlyCollection<string>? Only { get; init; }

    /// <summary>Whose processes they are: they are marked and recorded, and those that run already are taken over.</summary>
    public Installation? Installation { get; init; }

    /// <summary>Makes PostgreSQL and RabbitMQ, unless existing ones are used.</summary>
    public IServers Servers { get; init; } = new LocalServers();

    /// <summary>Runs the services as containers instead of built programs.</summary>
    public Images.ServiceContainers? Containers { get; init; }

    public Action<string, string> Progress { get; init; } = (_, _) => { };
}

/// <summary>
/// The whole platform as real processes: PostgreSQL, RabbitMQ, a mail catcher and every service of tye.yaml, with
/// databases, keys and secrets of its own. Tests own one in a temporary folder; ./crm up keeps one under .run/.
/// </summary>
public sealed class Platform : IAsyncDisposable
{
    public static readonly IReadOnlyList<string> PartnerScopes =
        [.. new[] { "customers", "consents", "imports", "merges", "erasures", "exports", "legal-holds", "interactions", "billing", "cases", "segments", "campaigns" }.SelectMany(s => new[] { $"{s}:read", $"{s}:write" }),
            "custom-fields:write", "tags:write"];

    private static readonly HttpClient Http = new(new SocketsHttpHandler { UseProxy = false });

    private readonly PlatformOptions _options;
    private readonly Dictionary<string, ServiceProcess> _services = [];

    public Platform(PlatformOptions options)
    {
        _options = options;
        Secrets = new SecretStore(options.Folder);
        foreach (var entry in Topology.Services.Where(e => options.Only is null || options.Only.Contains(e.Name)))
        {
            var service = Describe(entry);
            if (options.Installation is { } installation && installation.IsRunning(entry.Name))
                service.TakeOver(installation.Running[entry.Name]);
            _services.Add(entry.Name, service);
        }
    }

    public Topology Topology => _options.Topology;

    public PortMap Ports => _options.Ports;

    public string Folder => _options.Folder;

    public SecretStore Secrets { get; }

    /// <summary>By name, in the order of tye.yaml.</summary>
    public IReadOnlyDictionary<string, ServiceProcess> Services => _services;

    public ServiceProcess this[string name] => _services.TryGetValue(name, out var service)
        ? service
        : throw new RunnerException($"No service '{name}'.", $"There are: {string.Join(", ", _services.Keys)}.");

    /// <summary>Null when an existing server is used.</summary>
    public PostgresServer? Postgres { get; internal set; }

    /// <summary>Null when an existing server is used.</summary>
    public RabbitMqServer? RabbitMq { get; internal set; }

    /// <summary>The mail catcher of a test's platform; ./crm up has it as a process.</summary>
    public SmtpSink? Mail { get; private set; }

    public Uri GatewayAddress => this["gateway"].HttpAddress;

    public string AdminKey { get; private set; } = "";

    /// <summary>A key with every scope that is not administrative.</summary>
    public string PartnerKey { get; private set; } = "";

    public string BusUri => RabbitMq?.Uri ?? _options.ExternalRabbitMq ?? throw new InvalidOperationException("RabbitMQ is not started.");

    internal bool HasExternalPostgres => _options.ExternalPostgres is not null;

    internal bool HasExternalRabbitMq => _options.ExternalRabbitMq is not null;

    /// <summary>Of a user who may create roles and databases.</summary>
    public string SuperuserConnectionString => Postgres?.ConnectionString ?? _options.ExternalPostgres ?? throw new InvalidOperationException("PostgreSQL is not started.");

    public string LogFile(string name) => Path.Combine(Folder, "logs", name + ".log");

    /// <summary>What the services logged as errors in one trace: what happened where an answer says only that something failed.</summary>
    public IReadOnlyList<string> ErrorsOf(string traceId) => [.. _services.Keys.Select(LogFile).Where(File.Exists)
        .SelectMany(File.ReadLines)
        .Where(line => line.Contains(traceId, StringComparison.Ordinal) && line.Contains("\"level\":\"error\"", StringComparison.Ordinal))];

    /// <summary>Starts everything in a temporary folder on free ports; for tests. Programs must be built.</summary>
    public static async Task<Platform> StartAsync(
        string name = "platform", IReadOnlyDictionary<string, string>? environment = null, IReadOnlyCollection<string>? only = null,
        Action<string, string>? progress = null, bool durable = false, Images.ServiceContainers? containers = null, IServers? servers = null, CancellationToken ct = default)
    {
        var topology = Topology.Load(Topology.FindRoot());
        var platform = new Platform(new PlatformOptions
        {
            Topology = topology,
            Folder = Reaper.TemporaryFolder(name),
            Ports = PortMap.Free(topology),
            EndWithCaller = true,
            Durable = durable,
            Environment = environment ?? new Dictionary<string, string>(),
            Only = only,
            Containers = containers,
            Servers = servers ?? new LocalServers(),
            Progress = progress ?? ((_, _) => { }),
        });
        try
        {
            await platform.StartServersAsync(ct);
            await platform.StartServicesAsync(ct);
            await platform.CreatePartnerKeyAsync(ct);
            return platform;
        }
        catch
        {
            await platform.DisposeAsync();
            throw;
        }

    }

    /// <summary>All but the services: broker, mail catcher, databases with their schemas, keys.</summary>
    internal async Task StartServersAsync(CancellationToken ct)
    {
        RequireBuilt();
        Mail = SmtpSink.Start(new SmtpSinkOptions { Port = Ports["smtp", "smtp"] });
        await Task.WhenAll(StartRabbitMqAsync(ct), PrepareDatabasesAsync());

        async Task PrepareDatabasesAsync()
        {
            await StartPostgresAsync(ct);
            await CreateDatabasesAsync(ct);
            await WriteKeysAsync();
            if (_options.Containers is not null)
            {
                await WriteConnectionsAsync();
                Images.ServiceContainers.ShareSecrets(Path.Combine(Folder, "secrets"));
            }

            await MigrateAsync(ct: ct);
        }
    }

    public void RequireBuilt()
    {
        foreach (var service in _services.Values.Where(s => s.Command is []))
            throw new RunnerException($"{service.Name} is not built ({_options.Configuration}).", $"Run: dotnet build {Topology[service.Name].Project} -c {_options.Configuration}");
    }

    public async Task StartPostgresAsync(CancellationToken ct = default)
    {
        if (_options.ExternalPostgres is not null)
            return;
        Postgres = await _options.Servers.StartPostgresAsync(
            new PostgresOptions
            {
                Folder = PrivatePostgres.ReachableFolder(Path.Combine(Folder, "postgres")),
                Port = Ports["postgres", "sql"],
                LogFile = LogFile("postgres"),
                Password = await Secrets.PasswordAsync("postgres"),
                Durable = _options.Durable,
                EndWithCaller = _options.EndWithCaller,
                Installation = _options.Installation,
            },
            ct);
        _options.Progress("postgres", $"ready on 127.0.0.1:{Postgres.Port}");
    }

    public async Task<RabbitMqOptions> RabbitMqOptionsAsync() => new()
    {
        Folder = Path.Combine(Folder, "rabbitmq"),
        Port = Ports["rabbitmq", "amqp"],
        LogFile = LogFile("rabbitmq"),
        Password = await Secrets.PasswordAsync("rabbitmq"),
        EndWithCaller = _options.EndWithCaller,
        Installation = _options.Installation,
    };

    public async Task StartRabbitMqAsync(CancellationToken ct = default)
    {
        if (_options.ExternalRabbitMq is not null)
            return;
        RabbitMq = await _options.Servers.StartRabbitMqAsync(await RabbitMqOptionsAsync(), ct);
        _options.Progress("rabbitmq", $"ready on 127.0.0.1:{RabbitMq.Port}");
    }

    /// <summary>A database and an owner for every service.</summary>
    public async Task CreateDatabasesAsync(CancellationToken ct = default)
    {
        var superuser = SuperuserConnectionString;
        foreach (var entry in Topology.Services)
            await PostgresServer.CreateDatabaseAsync(superuser, entry.Database, await Secrets.PasswordAsync(entry.Database), ct);
    }

    /// <summary>A service's own connection string.</summary>
    public async Task<string> ConnectionStringAsync(string service)
    {
        var database = Topology[service].Database;
        var password = await Secrets.PasswordAsync(database);
        if (Postgres is not null)
            return Postgres.ConnectionStringFor(database, database, password);
        return new NpgsqlConnectionStringBuilder(_options.ExternalPostgres) { Database = database, Username = database, Password = password }.ConnectionString;
    }

    /// <summary>Signing keys and the admin key: made once, kept.</summary>
    public async Task WriteKeysAsync()
    {
        foreach (var entry in Topology.Services)
            await Secrets.CreateSigningKeyAsync(entry.Name);
        AdminKey = await Secrets.AdminKeyAsync();
    }

    public async Task WriteConnectionsAsync()
    {
        var bus = RabbitMq?.Uri ?? _options.ExternalRabbitMq ?? $"amqp://crm:{await Secrets.PasswordAsync("rabbitmq")}@127.0.0.1:{Ports["rabbitmq", "amqp"]}/crm";
        foreach (var entry in Topology.Services)
        {
            await Secrets.WriteAsync(entry.Name, "ConnectionStrings__Database", await ConnectionStringAsync(entry.Name));
            await Secrets.WriteAsync(entry.Name, "Bus__Uri", bus);
        }
    }

    /// <summary>Runs --migrate of every service, some at a time: each has a database of its own.</summary>
    public async Task MigrateAsync(int atOnce = 2, CancellationToken ct = default)
    {
        await WriteConnectionsAsync();
        await Parallel.ForEachAsync(_services.Values, new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = ct }, async (service, token) =>
        {
            var result = await service.RunModeAsync(["--migrate"], token);
            if (result.ExitCode != 0)
                throw new RunnerException($"The migrations of {service.Name} failed:\n{result.Output}", "Nothing of this service was started.");
            _options.Progress(service.Name, "database migrated");
        });
    }

    /// <summary>Starts every service that is not running, all at once, and waits until each is ready.</summary>
    public async Task StartServicesAsync(CancellationToken ct = default)
    {
        foreach (var service in _services.Values.Where(s => !s.IsRunning))
        {
            service.Start();
            _options.Installation?.Record(service.Process!);
        }

        await WaitUntilReadyAsync(ct);
    }

    public Task WaitUntilReadyAsync(CancellationToken ct = default) => Task.WhenAll(_services.Values.Select(async service =>
    {
        await service.WaitUntilReadyAsync(ct: ct);
        _options.Progress(service.Name, $"ready on {service.HttpAddress.ToString().TrimEnd('/')}{(service.GrpcAddress is { } grpc ? $", gRPC {grpc.Port}" : "")}");
    }));

    /// <summary>Asks the gateway for a partner key, as an administrator would.</summary>
    public async Task<string> CreatePartnerKeyAsync(CancellationToken ct = default)
    {
        if (!_services.ContainsKey("gateway"))
            return "";
        return PartnerKey = await CreateKeyAsync("development partner", PartnerScopes, ct);
    }

    public async Task<string> CreateKeyAsync(string name, IReadOnlyList<string> scopes, CancellationToken ct = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(GatewayAddress, "v1/keys"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", AdminKey);
        request.Content = JsonContent.Create(new Dictionary<string, object> { ["name"] = name, ["scopes"] = scopes, ["requests_per_minute"] = 100_000 });
        using var response = await Http.SendAsync(request, ct);
        var body = await response.Content.ReadAsStringAsync(ct);
        if (!response.IsSuccessStatusCode)
            throw new RunnerException($"The gateway gave no key: POST {request.RequestUri} answered {(int)response.StatusCode}:\n{body}", $"The gateway's log is {LogFile("gateway")}.");
        using var document = JsonDocument.Parse(body);
        return document.RootElement.GetProperty("key").GetString()!;
    }

    /// <summary>A client of the public API with the partner's key, or another one; null sends none.</summary>
    public HttpClient CreateClient(string? key = "partner")
    {
        var client = new HttpClient(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false }) { BaseAddress = GatewayAddress };
        if (key is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key switch { "partner" => PartnerKey, "admin" => AdminKey, _ => key });
        return client;
    }

    /// <summary>Replaces the mail catcher by one that behaves otherwise, on the same port; the mails of the old one are in the old one.</summary>
    public async Task<SmtpSink> ReplaceMailAsync(SmtpSinkOptions options)
    {
        if (Mail is not null)
            await Mail.DisposeAsync();
        return Mail = SmtpSink.Start(options with { Port = Ports["smtp", "smtp"] });
    }

    /// <summary>Ends everything at once and removes the folder of a test's platform.</summary>
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_services.Values.Select(s => s.KillAsync()));
        if (_options.Containers is not null)
            await _options.Containers.EndAsync();
        if (Mail is not null)
            await Mail.DisposeAsync();
        if (RabbitMq is not null)
            await RabbitMq.DisposeAsync();
        if (Postgres is not null)
            await Postgres.DisposeAsync();
        if (_options.EndWithCaller && Directory.Exists(Folder) && Environment.GetEnvironmentVariable("CRM_KEEP") is null)
            Directory.Delete(Folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    private ServiceProcess Describe(TopologyEntry entry)
    {
        var environment = Environment.GetEnvironmentVariables().Keys.Cast<string>()
            .Where(IsForeign).ToDictionary(name => name, _ => (string?)null);
        foreach (var (name, value) in Topology.EnvironmentOf(entry, Ports))
            environment[name] = value;
        environment["Ports__Address"] = "127.0.0.1";
        environment["Ports__Http"] = Ports[entry.Name, "http"].ToString(CultureInfo.InvariantCulture);
        environment["Ports__Grpc"] = entry.Bindings.Any(b => b.Name == "grpc") ? Ports[entry.Name, "grpc"].ToString(CultureInfo.InvariantCulture) : "0";
        environment["CRM_SECRETS"] = Secrets.FolderOf(entry.Name);
        environment["Auth__TrustedKeys"] = Secrets.TrustedKeys;
        foreach (var (name, value) in _options.Installation?.MarkOf(entry.Name) ?? [])
            environment[name] = value;
        // An installation's logs are read by people, those of a cluster by a collector.
        if (_options.Installation is not null)
            environment["Logging__Console__FormatterName"] = "crm-text";
        foreach (var (name, value) in _options is { EndWithCaller: true, Durable: false } ? ReadyToRun.ShortLived : new Dictionary<string, string>())
            environment[name] = value;
        foreach (var (name, value) in _options.Environment)
        {
            var parts = name.Split(':', 2);
            if (parts.Length == 1)
                environment[name] = value;
            else if (parts[0] == entry.Name)
                environment[parts[1]] = value;
        }

        return new ServiceProcess(
            new ProcessSpec
            {
                Name = entry.Name,
                Command = _options.Containers?.CommandOf(entry.Name, Secrets.FolderOf(entry.Name), Secrets.TrustedKeys, environment.Where(e => e.Value is not null).Select(e => e.Key))
                    ?? entry.Command(Topology.Root, _options.Configuration) ?? [],
                LogFile = LogFile(entry.Name + _options.Replica),
                WorkingFolder = entry.OutputFolder(Topology.Root, _options.Configuration) is var folder && Directory.Exists(folder) ? folder : null,
                Environment = environment,
                EndWithCaller = _options.EndWithCaller,
            },
            Address("http")!,
            Address("grpc"));

        Uri? Address(string binding) => entry.Bindings.Any(b => b.Name == binding) ? new Uri($"http://127.0.0.1:{Ports[entry.Name, binding]}/") : null;
    }

    /// <summary>What the caller's environment says to the caller alone: its own settings, a test host's, a build's.</summary>
    private static bool IsForeign(string name) =>
        name.StartsWith("CRM_", StringComparison.Ordinal) || name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("VSTEST", StringComparison.Ordinal) || name.StartsWith("ASPNETCORE_", StringComparison.Ordinal)
        || name.StartsWith("DOTNET_STARTUP_HOOKS", StringComparison.Ordinal) || name.StartsWith("ConnectionStrings__", StringComparison.Ordinal);
}
