using System.Text.Encodings.Web;
using Crm.Gateway.Domain;
using Crm.Hosting.Auth;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace Crm.Gateway.Authentication;

/// <summary><c>Authorization: Bearer</c> with an API key or with an access token of a configured identity provider.</summary>
internal sealed class CallerAuthentication(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, KeyDirectory keys, OidcTokens oidc)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (Request.Headers.Authorization.Count == 0)
        {
            return AuthenticateResult.NoResult();
        }

        try
        {
            var caller = await AuthenticateAsync(BearerOf(Request.Headers.Authorization), Context.RequestAborted);
            Context.Features.Set(caller);
            return AuthenticateResult.Success(new AuthenticationTicket(caller.ToPrincipal(), Scheme.Name));
        }
        catch (CredentialException refused)
        {
            return AuthenticateResult.Fail(refused);
        }
    }

    private Task<Caller> AuthenticateAsync(string credential, CancellationToken ct)
    {
        if (KeySecret.IsTest(credential))
        {
            throw new CredentialException("This is a key of a sandbox; it is not valid here.");
        }

        if (KeySecret.IsKey(credential))
        {
            return KeySecret.TryParse(credential, out var secret)
                ? keys.AuthenticateAsync(secret, ct)
                : throw new CredentialException("The key is malformed.");
        }

        return oidc.AuthenticateAsync(credential, ct);
    }

    private static string BearerOf(Microsoft.Extensions.Primitives.StringValues header)
    {
        const string Bearer = "Bearer ";
        return header is [{ } value] && value.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase) && value[Bearer.Length..].Trim() is { Length: > 0 } credential
            ? credential
            : throw new CredentialException("Send one header Authorization: Bearer, and the key or token.");
    }
}
