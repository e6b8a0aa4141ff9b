using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Crm.Contracts;
using Crm.Runner;
using Crm.Testing;
using Npgsql;

[assembly: AssemblyFixture(typeof(Gateway.Tests.GatewayFixture))]

namespace Gateway.Tests;

/// <summary>Two replicas of the gateway as real processes on one database, an identity provider, and a stand-in for the services behind.</summary>
public sealed class GatewayFixture : ServersFixture
{
    private readonly List<OwnedProcess> _processes = [];
    private SecretStore _secrets = null!;
    private string _folder = "";

    public Upstream Upstream { get; private set; } = null!;

    public OidcProvider Oidc { get; private set; } = null!;

    public Uri A { get; private set; } = null!;

    public Uri B { get; private set; } = null!;

    public string AdminKey { get; private set; } = "";

    public string ConnectionString { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        _folder = Reaper.TemporaryFolder("gateway");
        _secrets = new SecretStore(_folder);
        foreach (var name in (string[])["gateway", "contacts"])
        {
            await _secrets.CreateSigningKeyAsync(name);
        }

        Upstream = await Upstream.StartAsync(FreePort.Next(), FreePort.Next());
        Oidc = await OidcProvider.StartAsync(FreePort.Next());
        ConnectionString = await CreateDatabaseAsync("gateway");
        AdminKey = "sk_live_" + SecretText.New();
        Assert.Equal(0, (await MigrateAsync(ConnectionString)).ExitCode);
        (A, _) = await StartGatewayAsync(ConnectionString, AdminKey);
        (B, _) = await StartGatewayAsync(ConnectionString, AdminKey);
    }

    public Task<ShellResult> MigrateAsync(string connectionString) =>
        Shell.RunAsync([.. Command, "--migrate"], Environment(0, connectionString, ""));

    /// <summary>One more replica; ready.</summary>
    public async Task<(Uri Address, OwnedProcess Process)> StartGatewayAsync(string connectionString, string adminKey, params (string Name, string Value)[] more)
    {
        var port = FreePort.Next();
        var environment = Environment(port, connectionString, adminKey);
        foreach (var (name, value) in more)
        {
            environment[name] = value;
        }

        var process = OwnedProcess.Start(new ProcessSpec
        {
            Name = "gateway", Command = Command, LogFile = Path.Combine(_folder, $"gateway-{port}.log"), Environment = environment, EndWithCaller = true,
        });
        _processes.Add(process);
        var address = new Uri($"http://127.0.0.1:{port}/");
        using var http = new HttpClient { BaseAddress = address };
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                using var ready = await http.GetAsync("health/ready");
                if (ready.IsSuccessStatusCode)
                {
                    return (address, process);
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            Assert.True(process.IsAlive && Stopwatch.GetElapsedTime(start) < TimeSpan.FromMinutes(2), $"The gateway does not get ready:\n{process.LogTail()}");
            await Task.Delay(100);
        }
    }

    /// <summary>A client that sends this credential; none when it is null.</summary>
    public HttpClient Client(string? credential, Uri? replica = null)
    {
        var client = new HttpClient(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, ActivityHeadersPropagator = null }) { BaseAddress = replica ?? A };
        if (credential is not null)
        {
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", credential);
        }

        return client;
    }

    public HttpClient Admin(Uri? replica = null) => Client(AdminKey, replica);

    /// <summary>A new key, as the administrator makes it.</summary>
    public async Task<(string Id, string Secret)> CreateKeyAsync(IReadOnlyCollection<string>? scopes = null, int? requestsPerMinute = 100_000, DateTimeOffset? expiresAt = null)
    {
        using var admin = Admin();
        using var answer = await admin.PostAsJsonAsync("v1/keys", new { name = "test", scopes = scopes ?? Scopes.All, requests_per_minute = requestsPerMinute, expires_at = expiresAt });
        Assert.Equal(201, (int)answer.StatusCode);
        var key = await answer.Content.ReadFromJsonAsync<JsonElement>();
        return (key.GetProperty("id").GetString()!, key.GetProperty("key").GetString()!);
    }

    public NpgsqlDataSource Database() => NpgsqlDataSource.Create(ConnectionString);

    public override async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.KillAsync();
        }

        if (Upstream is not null)
        {
            await Upstream.DisposeAsync();
        }

        if (Oidc is not null)
        {
            await Oidc.DisposeAsync();
        }

        await base.DisposeAsync();
    }

    private static IReadOnlyList<string> Command
    {
        get
        {
            var root = Topology.FindRoot();
            var configuration = AppContext.BaseDirectory.Contains("/bin/Debug/", StringComparison.Ordinal) ? "Debug" : "Release";
            return Topology.Load(root)["gateway"].Command(root, configuration) ?? throw new InvalidOperationException("The gateway is not built.");
        }
    }

    private Dictionary<string, string?> Environment(int port, string connectionString, string adminKey)
    {
        var environment = new Dictionary<string, string?>
        {
            ["ConnectionStrings__Database"] = connectionString,
            ["Gateway__AdminKey"] = adminKey,
            ["CRM_SECRETS"] = _secrets.FolderOf("gateway"),
            ["Auth__TrustedKeys"] = _secrets.TrustedKeys,
            ["Auth__GatewayJwks"] = $"http://127.0.0.1:{port}/.well-known/jwks.json",
            ["Ports__Address"] = "127.0.0.1",
            ["Ports__Http"] = port.ToString(CultureInfo.InvariantCulture),
            ["Gateway__AnonymousRequestsPerMinute"] = "100000",
            // Longer than a busy machine makes any answer wait.
            ["Gateway__OverviewDeadline"] = "00:00:05",
            ["Oidc__Issuers__0__Authority"] = Oidc.Authority,
            ["Oidc__Issuers__0__Audience"] = OidcProvider.Audience,
            ["Oidc__Issuers__0__RequireHttps"] = "false",
            ["Oidc__Issuers__0__RoleScopes__agent"] = "cases:read cases:write",
            ["ReverseProxy__Clusters__Interactions__HttpRequest__ActivityTimeout"] = "00:00:05",
            ["ASPNETCORE_ENVIRONMENT"] = null,
        };
        foreach (var service in (string[])["Contacts", "Interactions", "Campaigns", "BillingSync", "Support"])
        {
            // Nobody listens where the cases are.
            environment[$"Services__{service}"] = service == "Support" ? $"http://127.0.0.1:{FreePort.Next()}" : $"http://127.0.0.1:{Upstream.HttpPort}";
            environment[$"Peers__{service}"] = $"http://127.0.0.1:{Upstream.GrpcPort}";
        }

        return environment;
    }
}

internal static class Answers
{
    /// <summary>The problem that the answer must be.</summary>
    public static async Task<JsonElement> ProblemAsync(this HttpResponseMessage answer, int status, string code)
    {
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True((int)answer.StatusCode == status, $"{(int)answer.StatusCode} instead of {status}: {text}");
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        var problem = JsonElement.Parse(text);
        Assert.Equal(status, problem.GetProperty("status").GetInt32());
        Assert.Equal(code, problem.GetProperty("code").GetString());
        Assert.Equal($"/problems/{code}", problem.GetProperty("type").GetString());
        Assert.Matches("^[0-9a-f]{32}$", problem.GetProperty("trace_id").GetString());
        Assert.Equal(problem.GetProperty("trace_id").GetString(), answer.Headers.GetValues("Crm-Trace-Id").Single());
        return problem;
    }

    public static async Task<JsonElement> OkAsync(this HttpResponseMessage answer, int status = 200)
    {
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True((int)answer.StatusCode == status, $"{(int)answer.StatusCode} instead of {status}: {text}");
        return text.Length == 0 ? default : JsonElement.Parse(text);
    }

    public static async Task<Echo> EchoAsync(this HttpResponseMessage answer) =>
        (await answer.OkAsync()).Deserialize<Echo>(JsonSerializerOptions.Web)!;
}
