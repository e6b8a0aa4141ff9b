using Crm.Contracts;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Hosting.Web;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Gateway.Authentication;

/// <summary>
/// What an identity provider publishes (OpenID Connect Discovery 1.0): read when the first token comes,
/// again each hour, and when a token names a key that is not known, at most every ten seconds.
/// </summary>
internal sealed partial class OidcIssuer(OidcIssuerOptions options, IHttpClientFactory http, TimeProvider clock, ILogger<OidcIssuer> logger) : IDisposable
{
    private static readonly TimeSpan Believed = TimeSpan.FromHours(1);
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(10);

    private readonly SemaphoreSlim _gate = new(1);
    private volatile Published? _published;
    private long? _triedAt;

    public OidcIssuerOptions Options => options;

    /// <summary>Some providers write their name with a slash at the end, some without.</summary>
    public bool Names(string issuer) => issuer.TrimEnd('/') == options.Authority.OriginalString.TrimEnd('/');

    /// <exception cref="CredentialException">The provider's keys do not have this one.</exception>
    /// <exception cref="ProblemException">503: nothing was ever read from the provider.</exception>
    public async Task<Published> KeysAsync(string? keyId, CancellationToken ct)
    {
        if (!IsCurrent(keyId))
        {
            await _gate.WaitAsync(ct);
            try
            {
                if (!IsCurrent(keyId) && (_triedAt is not { } tried || clock.GetElapsedTime(tried) >= ShortestInterval))
                {
                    await ReadAsync(ct);
                }
            }
            finally
            {
                _gate.Release();
            }
        }

        return _published ?? throw new ProblemException(ProblemCodes.Unavailable, "The identity provider cannot be reached; try again.") { RetryAfter = 10 };
    }

    private bool IsCurrent(string? keyId) => _published is { } published && clock.GetElapsedTime(published.ReadAt) < Believed
        && (string.IsNullOrEmpty(keyId) || published.Keys.Any(k => k.KeyId == keyId));

    private async Task ReadAsync(CancellationToken ct)
    {
        _triedAt = clock.GetTimestamp();
        try
        {
            using var client = http.CreateClient(nameof(OidcIssuer));
            var documents = new HttpDocumentRetriever(client) { RequireHttps = options.RequireHttps };
            var address = $"{options.Authority.OriginalString.TrimEnd('/')}/.well-known/openid-configuration";
            var configuration = await OpenIdConnectConfigurationRetriever.GetAsync(address, documents, ct);
            if (!Names(configuration.Issuer))
            {
                throw new InvalidOperationException($"{address} speaks for another issuer.");
            }

            // Symmetric keys have no place in a published set.
            _published = new(configuration.Issuer, [.. configuration.SigningKeys.Where(k => k is AsymmetricSecurityKey or JsonWebKey { Kty: "RSA" or "EC" })], clock.GetTimestamp());
        }
        catch (Exception exception) when (exception is not OperationCanceledException || !ct.IsCancellationRequested)
        {
            LogUnavailable(options.Authority, exception.GetBaseException().Message);
        }
    }

    public void Dispose() => _gate.Dispose();

    [LoggerMessage(LogLevel.Warning, "The keys of {Authority} cannot be read, the known ones stay ({Reason})")]
    private partial void LogUnavailable(Uri authority, string reason);

    internal sealed record Published(string Issuer, IReadOnlyList<SecurityKey> Keys, long ReadAt);
}

internal static class OidcServices
{
    public static void AddOidc(this IServiceCollection services)
    {
        services.AddSettings<OidcOptions>("Oidc").Validate(Validate, "Each Oidc:Issuers entry has Authority, Audience and a Name of its own.");
        services.AddHttpClient(nameof(OidcIssuer)).ConfigureHttpClient(c =>
        {
            c.Timeout = TimeSpan.FromSeconds(5);
            c.MaxResponseContentBufferSize = 1_000_000;
        });
        services.AddSingleton<IReadOnlyList<OidcIssuer>>(p => [.. p.GetRequiredService<Microsoft.Extensions.Options.IOptions<OidcOptions>>().Value.Issuers
            .Select(issuer => ActivatorUtilities.CreateInstance<OidcIssuer>(p, issuer))]);
        services.AddSingleton<OidcTokens>();
    }

    private static bool Validate(OidcOptions options) =>
        options.Issuers.TrueForAll(i => System.ComponentModel.DataAnnotations.Validator.TryValidateObject(i, new(i), null, validateAllProperties: true))
        && options.Issuers.DistinctBy(i => i.Name, StringComparer.Ordinal).Count() == options.Issuers.Count;
}
