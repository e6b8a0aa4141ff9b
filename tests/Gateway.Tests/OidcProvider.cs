using System.Collections.Concurrent;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Gateway.Tests;

/// <summary>An OpenID Connect provider over real HTTP: discovery, JWKS, and tokens of every kind, forged ones too.</summary>
public sealed class OidcProvider : IAsyncDisposable
{
    public const string Audience = "crm-api";

    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, JsonWebKey> _published = new();

    private OidcProvider(int port)
    {
        Authority = $"http://127.0.0.1:{port}/realms/acme";
        Rsa = new RsaSecurityKey(RSA.Create(2048)) { KeyId = "rsa-1" };
        Ec = new ECDsaSecurityKey(ECDsa.Create(ECCurve.NamedCurves.nistP256)) { KeyId = "ec-1" };
        Publish(Rsa);
        Publish(Ec);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        _app = builder.Build();
        _app.MapGet("/realms/acme/.well-known/openid-configuration", () => Results.Json(new { issuer = Authority, jwks_uri = $"{Authority}/keys" }));
        _app.MapGet("/realms/acme/keys", () => Results.Json(new { keys = _published.Values.Select(k => new { kty = k.Kty, kid = k.Kid, use = "sig", n = k.N, e = k.E, crv = k.Crv, x = k.X, y = k.Y }) }));
    }

    public string Authority { get; }

    public RsaSecurityKey Rsa { get; }

    public ECDsaSecurityKey Ec { get; }

    public static async Task<OidcProvider> StartAsync(int port)
    {
        var provider = new OidcProvider(port);
        await provider._app.StartAsync();
        return provider;
    }

    public void Publish(SecurityKey key) => _published[key.KeyId] = key switch
    {
        RsaSecurityKey rsa => JsonWebKeyConverter.ConvertFromRSASecurityKey(new RsaSecurityKey(rsa.Rsa.ExportParameters(false)) { KeyId = rsa.KeyId }),
        ECDsaSecurityKey ec => JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(ECDsa.Create(ec.ECDsa.ExportParameters(false))) { KeyId = ec.KeyId }),
        _ => throw new ArgumentException("Not a key pair.", nameof(key)),
    };

    public string Token(
        SecurityKey? key = null, string algorithm = SecurityAlgorithms.RsaSha256, string? issuer = null, string audience = Audience,
        TimeSpan? expiresIn = null, TimeSpan? notBefore = null, Dictionary<string, object>? claims = null, bool withExpiry = true)
    {
        var now = DateTime.UtcNow;
        return new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }.CreateToken(new SecurityTokenDescriptor
        {
            Issuer = issuer ?? Authority,
            Audience = audience,
            NotBefore = now + (notBefore ?? TimeSpan.FromMinutes(-5)),
            Expires = withExpiry ? now + (expiresIn ?? TimeSpan.FromMinutes(5)) : null,
            SigningCredentials = new SigningCredentials(key ?? Rsa, algorithm),
            Claims = new Dictionary<string, object>(claims ?? []) { ["sub"] = "jane" },
        });
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
