using System.ComponentModel.DataAnnotations;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Hosting.Auth;

/// <summary>Section <c>Auth</c>.</summary>
public sealed class AuthOptions : IValidatableObject
{
    /// <summary>This process's signing key: EC P-256 in PEM. A mounted secret.</summary>
    [Required]
    public string PrivateKey { get; init; } = null!;

    /// <summary>
    /// Folder of the public keys of services, <c>&lt;service&gt;.pem</c>, each with one key or several: while one is replaced, and
    /// as long as what it has signed is shown. <c>gateway.pem</c> beside what the gateway publishes.
    /// </summary>
    [Required]
    public string TrustedKeys { get; init; } = null!;

    /// <summary>Where the gateway publishes its keys (RFC 7517).</summary>
    [Required]
    public Uri GatewayJwks { get; init; } = null!;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (!IsKey(PrivateKey))
        {
            yield return new("Auth:PrivateKey is not a private key of the curve P-256 in PEM.", [nameof(PrivateKey)]);
        }

        if (!Directory.Exists(TrustedKeys))
        {
            yield return new($"Auth:TrustedKeys: there is no folder {TrustedKeys}.", [nameof(TrustedKeys)]);
        }

        if (!GatewayJwks.IsAbsoluteUri || GatewayJwks.Scheme is not ("http" or "https"))
        {
            yield return new("Auth:GatewayJwks is an absolute address, http://….", [nameof(GatewayJwks)]);
        }
    }

    private static bool IsKey(string pem)
    {
        try
        {
            using var key = ECDsa.Create();
            key.ImportFromPem(pem);
            return key.KeySize == 256 && key.ExportParameters(includePrivateParameters: true).D is not null;
        }
        catch (Exception exception) when (exception is ArgumentException or CryptographicException)
        {
            return false;
        }
    }
}

/// <summary>A key and the only issuer that may use it.</summary>
internal sealed record TrustedKey(string Service, SecurityKey Key);

/// <summary>
/// The keys that internal tokens may be signed with: the services' own, mounted, and the gateway's, mounted or fetched. A
/// fetched one is kept when the gateway is away, and while only another replica of the gateway publishes it.
/// </summary>
internal sealed partial class SigningKeys(IOptions<AuthOptions> options, IHttpClientFactory http, TimeProvider clock, ILogger<SigningKeys> logger) : IDisposable
{
    public const string Gateway = "gateway";
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(2);

    /// <summary>After a fetch that failed: a gateway that has just started must not be refused for seconds.</summary>
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(100);

    private readonly SemaphoreSlim _refresh = new(1);
    /// <summary>A replica with another key may have answered; longer than a token lives.</summary>
    private static readonly TimeSpan PublishedLifetime = 5 * InternalTokens.Lifetime;

    private readonly Dictionary<string, (SecurityKey Key, DateTimeOffset SeenAt)> _published = new(StringComparer.Ordinal);
    private volatile Dictionary<string, TrustedKey> _keys = [];
    private long _refreshedAt;
    private volatile bool _fetched;

    public TrustedKey? Find(string? keyId) => keyId is not null && _keys.TryGetValue(keyId, out var key) ? key : null;

    /// <summary>Looks again when the key is unknown, at most every two seconds, so that forged key ids cost nothing.</summary>
    public async Task EnsureAsync(string keyId, CancellationToken ct)
    {
        if (IsSettled(keyId))
        {
            return;
        }

        await _refresh.WaitAsync(ct);
        try
        {
            if (IsSettled(keyId))
            {
                return;
            }

            var keys = new Dictionary<string, TrustedKey>(StringComparer.Ordinal);
            foreach (var file in Directory.EnumerateFiles(options.Value.TrustedKeys, "*.pem"))
            {
                foreach (var key in ReadKeys(await File.ReadAllTextAsync(file, ct)))
                {
                    keys[key.KeyId] = new(Path.GetFileNameWithoutExtension(file), key);
                }
            }

            try
            {
                using var client = http.CreateClient(nameof(SigningKeys));
                var (published, now) = (new JsonWebKeySet(await client.GetStringAsync(options.Value.GatewayJwks, ct)), clock.GetUtcNow());
                foreach (var key in published.GetSigningKeys().Where(k => k.KeyId is not null))
                {
                    _published[key.KeyId] = (key, now);
                }

                foreach (var gone in _published.Where(p => p.Value.SeenAt < now - PublishedLifetime).Select(p => p.Key).ToList())
                {
                    _published.Remove(gone);
                }

                _fetched = true;
            }
            catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException && !ct.IsCancellationRequested)
            {
                _fetched = false;
                LogGatewayKeysUnavailable(exception.Message);
            }

            foreach (var (id, (key, _)) in _published)
            {
                // Nobody publishes the key of a service as the gateway's.
                keys.TryAdd(id, new(Gateway, key));
            }

            _keys = keys;
            _refreshedAt = clock.GetTimestamp();
        }
        finally
        {
            _refresh.Release();
        }
    }

    /// <summary>All keys of a file.</summary>
    public static IEnumerable<ECDsaSecurityKey> ReadKeys(string text)
    {
        for (var rest = text; PemEncoding.TryFind(rest, out var found); rest = rest[found.Location.End..])
        {
            var ecdsa = ECDsa.Create();
            ecdsa.ImportFromPem(rest[found.Location]);
            var key = new ECDsaSecurityKey(ecdsa);
            key.KeyId = Base64UrlEncoder.Encode(key.ComputeJwkThumbprint());
            yield return key;
        }
    }

    private bool IsSettled(string keyId) =>
        _keys.ContainsKey(keyId) || (_refreshedAt != 0 && clock.GetElapsedTime(_refreshedAt) < (_fetched ? RefreshInterval : RetryInterval));

    public void Dispose() => _refresh.Dispose();

    [LoggerMessage(LogLevel.Warning, "The gateway's keys cannot be fetched, the known ones stay ({Reason})")]
    private partial void LogGatewayKeysUnavailable(string reason);
}
