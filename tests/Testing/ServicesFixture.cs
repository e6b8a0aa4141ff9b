using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Npgsql;

namespace Crm.Testing;

/// <summary>
/// Some services as real processes, called as the gateway calls them: the fixture holds the gateway's key,
/// publishes it where they look, and mints tokens for callers.
/// </summary>
public abstract class ServicesFixture : PlatformFixture
{
    private WebApplication? _keys;
    private InternalTokens? _tokens;

    protected abstract override IReadOnlyCollection<string> Only { get; }

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        var key = await File.ReadAllTextAsync(Path.Combine(Platform.Secrets.FolderOf("gateway"), "Auth__PrivateKey"));
        _tokens = new InternalTokens(
            Options.Create(new AuthOptions { PrivateKey = key, TrustedKeys = "", GatewayJwks = new Uri("http://localhost") }),
            new ServiceName("gateway"),
            TimeProvider.System);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{Platform.Ports["gateway", "http"]}"));
        _keys = builder.Build();
        _keys.MapGet("/.well-known/jwks.json", () => Results.Text(JsonSerializer.Serialize(new { keys = new[] { PublicKey() } }), "application/json"));
        await _keys.StartAsync();
        // They have been running without these keys, and look for them again at the next call.
        foreach (var service in Only)
        {
            using var client = CreateClient(service);
            await Eventually.GetAsync(() => client.GetAsync("v1/none"), answer => answer.StatusCode != System.Net.HttpStatusCode.Unauthorized);
        }
    }

    /// <summary>A token as the gateway mints it for a caller with these scopes.</summary>
    public string Token(params IReadOnlyCollection<string> scopes) => Token(new TokenSubject("key_test", scopes, [], []));

    public string Token(TokenSubject subject) => _tokens!.Mint(subject).Token;

    /// <summary>A client of one service's HTTP port for this caller.</summary>
    public HttpClient CreateClient(string service, TokenSubject subject) => CreateClient(service, () => Token(subject));

    /// <summary>A client of one service's HTTP port, with these scopes; all of them when none is named.</summary>
    public HttpClient CreateClient(string service, params IReadOnlyCollection<string> scopes)
    {
        IReadOnlyCollection<string> granted = scopes.Count == 0 ? Scopes.All : scopes;
        return CreateClient(service, () => Token(granted));
    }

    private HttpClient CreateClient(string service, Func<string> token) =>
        new(new FreshToken(token) { InnerHandler = new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false } })
        {
            BaseAddress = Platform[service].HttpAddress,
        };

    /// <summary>A connection to a service's own database, to look at what is there.</summary>
    public async Task<NpgsqlDataSource> DatabaseAsync(string service) =>
        NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(await Platform.ConnectionStringAsync(service)) { CommandTimeout = 300 });

    public override async ValueTask DisposeAsync()
    {
        if (_keys is not null)
        {
            await _keys.DisposeAsync();
        }

        _tokens?.Dispose();
        await base.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private Dictionary<string, string> PublicKey()
    {
        var key = _tokens!.PublicKey;
        return new() { ["kty"] = key.Kty, ["crv"] = key.Crv, ["x"] = key.X, ["y"] = key.Y, ["kid"] = key.Kid, ["use"] = key.Use, ["alg"] = key.Alg };
    }

    /// <summary>Tokens live two minutes and suites longer, so each call gets its own unless it brings one.</summary>
    private sealed class FreshToken(Func<string> mint) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Headers.Authorization ??= new AuthenticationHeaderValue("Bearer", mint());
            return base.SendAsync(request, cancellationToken);
        }
    }
}
