using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Hosting.Auth;

/// <summary>
/// What a service signs for others to keep: a compact JWS (RFC 7515, ES256) by the key of its tokens, which no expiry
/// ends. It is no token: it has neither an audience nor an expiry, and a type of its own.
/// </summary>
public sealed class SignedStatements
{
    private const string Type = "crm-statement";

    /// <summary>A service of a later release may say more.</summary>
    private static readonly JsonSerializerOptions Json = new(Web.JsonDefaults.Options) { UnmappedMemberHandling = System.Text.Json.Serialization.JsonUnmappedMemberHandling.Skip };

    private readonly InternalTokens _tokens;
    private readonly SigningKeys _keys;
    private readonly string _folder;
    private readonly JsonWebTokenHandler _handler = new();

    internal SignedStatements(InternalTokens tokens, SigningKeys keys, IOptions<AuthOptions> options)
    {
        _tokens = tokens;
        _keys = keys;
        _folder = options.Value.TrustedKeys;
    }

    public string Sign(object statement) => _tokens.Sign(JsonSerializer.Serialize(statement, statement.GetType(), Json), Type);

    /// <summary>What was signed; null unless the key is <paramref name="service"/>'s and nothing was altered.</summary>
    public async Task<T?> ReadAsync<T>(string jws, string service, CancellationToken ct) where T : class =>
        await VerifyAsync<T>(jws, ct) is { } verified && verified.Service == service ? verified.Statement : null;

    /// <summary>Who signed what; null when it is not a statement, is altered, or its key is not a service's.</summary>
    public async Task<(string Service, string KeyId, T Statement)?> VerifyAsync<T>(string jws, CancellationToken ct) where T : class
    {
        if (!_handler.CanReadToken(jws) || _handler.ReadJsonWebToken(jws) is not { Kid: { Length: > 0 } keyId })
        {
            return null;
        }

        await _keys.EnsureAsync(keyId, ct);
        if (_keys.Find(keyId) is not { } key)
        {
            return null;
        }

        var result = await _handler.ValidateTokenAsync(jws, new TokenValidationParameters
        {
            IssuerSigningKey = key.Key,
            ValidAlgorithms = [SecurityAlgorithms.EcdsaSha256],
            ValidTypes = [Type],
            RequireSignedTokens = true,
            RequireExpirationTime = false,
            ValidateLifetime = false,
            ValidateAudience = false,
            ValidateIssuer = false,
        });
        if (!result.IsValid)
        {
            return null;
        }

        var payload = Base64UrlEncoder.DecodeBytes(((JsonWebToken)result.SecurityToken).EncodedPayload);
        return (key.Service, keyId, JsonSerializer.Deserialize<T>(payload, Json)!);
    }

    /// <summary>The services' public keys (RFC 7517), with which anybody can verify a statement.</summary>
    public async Task<IReadOnlyList<StatementKey>> KeysAsync(CancellationToken ct)
    {
        var keys = new List<StatementKey>();
        foreach (var file in Directory.EnumerateFiles(_folder, "*.pem").Order(StringComparer.Ordinal))
        {
            foreach (var key in SigningKeys.ReadKeys(await File.ReadAllTextAsync(file, ct)))
            {
                var jwk = JsonWebKeyConverter.ConvertFromECDsaSecurityKey(key);
                keys.Add(new(Path.GetFileNameWithoutExtension(file), jwk.Kty, jwk.Crv, jwk.X, jwk.Y, key.KeyId, "sig", SecurityAlgorithms.EcdsaSha256));
            }
        }

        return keys;
    }
}

/// <summary>A service's public key as a JSON Web Key.</summary>
/// <param name="Service">Whose it is.</param>
public sealed record StatementKey(string Service, string Kty, string Crv, string X, string Y, string Kid, string Use, string Alg);
