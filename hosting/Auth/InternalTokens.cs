using Crm.Hosting.Rights;
using System.Security.Cryptography;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Hosting.Auth;

/// <summary>Who a token speaks for.</summary>
/// <param name="Subject">A key or user id; <c>svc:&lt;service&gt;</c> for a service on its own behalf.</param>
/// <param name="Roles">Of the policy; none: not restricted by any.</param>
/// <param name="Rows">Whose rows it sees; null: all.</param>
public sealed record TokenSubject(
    string Subject, IReadOnlyCollection<string> Scopes, IReadOnlyCollection<string> Roles, IReadOnlyCollection<string> Departments, RowFilter? Rows = null);

/// <summary>Mints the short-lived tokens that services trust, signed with this process's mounted key.</summary>
public sealed class InternalTokens : IDisposable
{
    public const string Audience = "crm";

    /// <summary>How long a minted token is valid.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(30);

    private readonly JsonWebTokenHandler _handler = new() { SetDefaultTimesOnTokenCreation = false };
    private readonly ECDsa _key = ECDsa.Create();
    private readonly ECDsaSecurityKey _securityKey;
    private readonly SigningCredentials _credentials;
    private readonly TimeProvider _clock;
    private readonly string _service;
    private volatile Minted? _own;

    public InternalTokens(IOptions<AuthOptions> options, ServiceName service, TimeProvider clock)
    {
        _key.ImportFromPem(options.Value.PrivateKey);
        _securityKey = new ECDsaSecurityKey(_key);
        _securityKey.KeyId = Base64UrlEncoder.Encode(_securityKey.ComputeJwkThumbprint());
        _credentials = new SigningCredentials(_securityKey, SecurityAlgorithms.EcdsaSha256);
        _service = service.Value;
        _clock = clock;
    }

    /// <summary>The public half, as a JSON Web Key.</summary>
    public JsonWebKey PublicKey
    {
        get
        {
            using var publicOnly = ECDsa.Create(_key.ExportParameters(includePrivateParameters: false));
            var key = JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(publicOnly) { KeyId = _securityKey.KeyId });
            key.Use = "sig";
            key.Alg = SecurityAlgorithms.EcdsaSha256;
            return key;
        }
    }

    /// <summary>This service's own token; the same one until it is about to expire.</summary>
    public string Own()
    {
        var own = _own;
        // One that lasts longer than any is of a clock that was ahead and has been put right: nobody would accept it yet.
        if (own is null || own.Expires - _clock.GetUtcNow() is var left && (left < Renewal || left > Lifetime))
        {
            var (token, expires) = Mint(new TokenSubject($"svc:{_service}", [], [], []));
            _own = own = new(token, expires);
        }

        return own.Token;
    }

    public (string Token, DateTimeOffset Expires) Mint(TokenSubject subject)
    {
        var now = _clock.GetUtcNow();
        var expires = now + Lifetime;
        var claims = new Dictionary<string, object>
        {
            [CallerClaims.Subject] = subject.Subject,
            [CallerClaims.Scope] = string.Join(' ', subject.Scopes),
            [CallerClaims.Roles] = subject.Roles.ToArray(),
            [CallerClaims.Departments] = subject.Departments.ToArray(),
        };
        if (subject.Rows is { } rows)
        {
            claims[CallerClaims.Rows] = rows.ToClaim();
        }

        var token = _handler.CreateToken(new SecurityTokenDescriptor
        {
            Issuer = IssuerOf(_service),
            Audience = Audience,
            IssuedAt = now.UtcDateTime,
            NotBefore = now.UtcDateTime,
            Expires = expires.UtcDateTime,
            SigningCredentials = _credentials,
            Claims = claims,
        });
        return (token, expires);
    }

    /// <summary>A JWS of this payload; see <see cref="SignedStatements"/>.</summary>
    internal string Sign(string payload, string type) =>
        _handler.CreateToken(payload, _credentials, new Dictionary<string, object> { [JwtHeaderParameterNames.Typ] = type });

    internal static string IssuerOf(string service) => $"crm:{service}";

    public void Dispose() => _key.Dispose();

    /// <summary>One reference, so that no caller reads half of it.</summary>
    private sealed record Minted(string Token, DateTimeOffset Expires);
}

public static class CallerClaims
{
    public const string Subject = "sub";
    public const string Scope = "scope";
    public const string Roles = "roles";
    public const string Departments = "departments";
    public const string Rows = "rows";
}
