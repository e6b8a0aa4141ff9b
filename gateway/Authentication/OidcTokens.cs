using Crm.Contracts;
using Crm.Hosting.Auth;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Gateway.Authentication;

/// <summary>Access tokens (RFC 9068) of the configured identity providers.</summary>
internal sealed class OidcTokens(IReadOnlyList<OidcIssuer> issuers, Policy policy, IOptions<GatewayOptions> gateway, TimeProvider clock)
{
    private static readonly TimeSpan Skew = TimeSpan.FromSeconds(30);
    private static readonly string[] Algorithms = [SecurityAlgorithms.RsaSha256, SecurityAlgorithms.EcdsaSha256, SecurityAlgorithms.RsaSsaPssSha256];

    private readonly JsonWebTokenHandler _handler = new() { MapInboundClaims = false };

    /// <exception cref="CredentialException">The token is not valid here.</exception>
    public async Task<Caller> AuthenticateAsync(string credential, CancellationToken ct)
    {
        if (Read(credential) is not { } token)
        {
            throw new CredentialException("The credential is neither a key nor a token.");
        }

        var issuer = issuers.FirstOrDefault(i => i.Names(token.Issuer)) ?? throw new CredentialException("The issuer of the token is not known here.");
        if (!Algorithms.Contains(token.Alg, StringComparer.Ordinal))
        {
            throw new CredentialException("The algorithm of the token is not accepted.");
        }

        var keys = await issuer.KeysAsync(token.Kid, ct);
        var result = await _handler.ValidateTokenAsync(token, new TokenValidationParameters
        {
            ValidIssuer = keys.Issuer,
            ValidAudience = issuer.Options.Audience,
            ValidAlgorithms = Algorithms,
            RequireSignedTokens = true,
            RequireExpirationTime = true,
            RequireAudience = true,
            IssuerSigningKeys = keys.Keys.Where(k => token.Kid is { Length: > 0 } ? k.KeyId == token.Kid : keys.Keys.Count == 1),
            TryAllIssuerSigningKeys = false,
            LifetimeValidator = (notBefore, expires, _, _) => IsCurrent(notBefore, expires),
        });
        if (!result.IsValid)
        {
            throw new CredentialException(result.Exception switch
            {
                SecurityTokenInvalidAudienceException => "The token is for another audience.",
                SecurityTokenInvalidIssuerException => "The issuer of the token is not known here.",
                SecurityTokenInvalidLifetimeException or SecurityTokenExpiredException or SecurityTokenNotYetValidException or SecurityTokenNoExpirationException => "The token has expired or is not valid yet.",
                SecurityTokenSignatureKeyNotFoundException => "The key of the token is not known.",
                _ => "The signature of the token is not valid.",
            });
        }

        if (token.Subject is not { Length: > 0 and <= 255 } subject)
        {
            throw new CredentialException("The token names no subject.");
        }

        return new Caller(SubjectOf(token, subject, issuer.Options), gateway.Value.RequestsPerMinute);
    }

    private TokenSubject SubjectOf(JsonWebToken token, string subject, OidcIssuerOptions options)
    {
        var roles = Words(token, options.RolesClaim);
        // Scopes of the token limit what the roles of the policy bring; a token without any has all of that.
        var brought = policy.ScopesOf(roles);
        var named = Scopes.All.Intersect(Words(token, "scope").Concat(Words(token, "scp")), StringComparer.Ordinal).ToList();
        var scopes = (brought.Count == 0 ? named : named.Count == 0 ? brought : named.Intersect(brought, StringComparer.Ordinal))
            .Concat(roles.Where(options.RoleScopes.ContainsKey).SelectMany(r => options.RoleScopes[r].Split(' ', StringSplitOptions.RemoveEmptyEntries)));
        return new TokenSubject(
            $"{options.Name}:{subject}",
            // A provider may know scopes of other systems; they say nothing here.
            [.. Scopes.All.Intersect(scopes, StringComparer.Ordinal).Order(StringComparer.Ordinal)],
            roles,
            Words(token, options.DepartmentsClaim));
    }

    /// <summary>A claim as one text with blanks or as an array.</summary>
    private static string[] Words(JsonWebToken token, string claim) =>
        [.. token.Claims.Where(c => c.Type == claim).SelectMany(c => c.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Distinct(StringComparer.Ordinal)];

    private bool IsCurrent(DateTime? notBefore, DateTime? expires)
    {
        var now = clock.GetUtcNow().UtcDateTime;
        return expires is { } end && now < end + Skew && (notBefore is not { } start || start <= now + Skew);
    }

    private static JsonWebToken? Read(string text)
    {
        try
        {
            return text.Length <= 16 * 1024 && text.Split('.').Length == 3 ? new JsonWebToken(text) : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }
}
