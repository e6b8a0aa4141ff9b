using System.Security.Claims;
using Crm.Contracts;
using Crm.Hosting.Rpc;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Crm.Hosting.Auth;

/// <summary>
/// Authentication by internal tokens and authorization that denies what nothing allows: an endpoint
/// without a scope, a caller list or an explicit <c>AllowAnonymous</c> answers 403 to everybody.
/// </summary>
public static class InternalAuth
{
    public static void AddInternalAuth(this IServiceCollection services)
    {
        services.AddAuthKeys();
        services.AddAuthentication(JwtBearerDefaults.AuthenticationScheme).AddJwtBearer();
        services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme).Configure<SigningKeys, TimeProvider>((bearer, keys, clock) =>
        {
            bearer.MapInboundClaims = false;
            bearer.TimeProvider = clock;
            bearer.TokenValidationParameters = new TokenValidationParameters
            {
                ValidAudience = InternalTokens.Audience,
                ValidAlgorithms = [SecurityAlgorithms.EcdsaSha256],
                ClockSkew = TimeSpan.FromSeconds(30),
                RequireExpirationTime = true,
                RequireSignedTokens = true,
                NameClaimType = CallerClaims.Subject,
                RoleClaimType = CallerClaims.Roles,
                IssuerSigningKeyResolver = (_, _, keyId, _) => keys.Find(keyId) is { } key ? [key.Key] : [],
                // A key speaks for its own service only, and only the gateway's may carry a user.
                IssuerValidator = (issuer, token, _) =>
                    token is JsonWebToken jwt && keys.Find(jwt.Kid) is { } key && issuer == InternalTokens.IssuerOf(key.Service)
                    && (jwt.Subject == $"svc:{key.Service}" || (key.Service == SigningKeys.Gateway && !jwt.Subject.StartsWith("svc:", StringComparison.Ordinal)))
                        ? issuer
                        : throw new SecurityTokenInvalidIssuerException("The issuer may not sign with this key."),
            };
            bearer.Events = new JwtBearerEvents
            {
                OnMessageReceived = async context =>
                {
                    var header = context.Request.Headers.Authorization.ToString();
                    if (header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) && KeyIdOf(header["Bearer ".Length..].Trim()) is { } keyId)
                    {
                        await keys.EnsureAsync(keyId, context.HttpContext.RequestAborted);
                    }
                },
            };
        });
        services.AddScopeAuthorization();
    }

    /// <summary>Deny by default, scopes, and refusals as problems; whoever the caller was authenticated by.</summary>
    public static void AddScopeAuthorization(this IServiceCollection services)
    {
        services.AddAuthorizationBuilder().SetFallbackPolicy(new AuthorizationPolicyBuilder().RequireAssertion(IsNoEndpoint).Build());
        services.AddSingleton<IAuthorizationHandler, ScopeHandler>();
        services.AddSingleton<IAuthorizationHandler, CallersHandler>();
        services.AddSingleton<IAuthorizationMiddlewareResultHandler, AuthorizationProblems>();
    }

    /// <summary>The keys alone, for the gateway: it signs, and authenticates its callers in its own ways.</summary>
    public static void AddAuthKeys(this IServiceCollection services)
    {
        services.AddSettings<AuthOptions>("Auth");
        services.AddHttpClient(nameof(SigningKeys)).ConfigureHttpClient(c => c.Timeout = TimeSpan.FromSeconds(2));
        services.AddSingleton<SigningKeys>();
        services.AddSingleton<InternalTokens>();
        services.AddSingleton(p => new SignedStatements(p.GetRequiredService<InternalTokens>(), p.GetRequiredService<SigningKeys>(), p.GetRequiredService<IOptions<AuthOptions>>()));
    }

    /// <summary>The caller's token must carry this scope; 403 names it when it does not.</summary>
    public static TBuilder RequireScope<TBuilder>(this TBuilder endpoint, string scope) where TBuilder : IEndpointConventionBuilder =>
        endpoint.RequireAuthorization(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().AddRequirements(new ScopeRequirement(scope)).Build())
            .WithMetadata(new ScopeMetadata(scope));

    public static bool HasScope(this ClaimsPrincipal user, string scope) =>
        user.FindFirst(CallerClaims.Scope)?.Value.Split(' ').Contains(scope, StringComparer.Ordinal) is true;

    /// <summary>The key or user id, or <c>svc:&lt;service&gt;</c>.</summary>
    public static string Subject(this ClaimsPrincipal user) => user.FindFirst(CallerClaims.Subject)?.Value ?? "anonymous";

    /// <summary>Unknown paths, and routing's own answers such as 405 and 415; they do nothing.</summary>
    private static bool IsNoEndpoint(AuthorizationHandlerContext context) => context.Resource is HttpContext http && http.GetEndpoint() is not RouteEndpoint;

    private static string? KeyIdOf(string token)
    {
        try
        {
            return new JsonWebToken(token).Kid;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }
}

public sealed record ScopeRequirement(string Scope) : IAuthorizationRequirement;

internal sealed class ScopeHandler : AuthorizationHandler<ScopeRequirement>
{
    protected override Task HandleRequirementAsync(AuthorizationHandlerContext context, ScopeRequirement requirement)
    {
        if (context.User.HasScope(requirement.Scope))
        {
            context.Succeed(requirement);
        }

        return Task.CompletedTask;
    }
}

/// <summary>
/// On an RPC: the services that may call it on their own behalf. <see cref="Scope"/> is what a user's
/// token from the gateway needs; without it no user may call.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class CallersAttribute(params string[] services) : AuthorizeAttribute, IAuthorizationRequirement, IAuthorizationRequirementData
{
    public IReadOnlyList<string> Services { get; } = services;

    public string? Scope { get; init; }

    public IEnumerable<IAuthorizationRequirement> GetRequirements() => [this];
}

internal sealed class CallersHandler : AuthorizationHandler<CallersAttribute>
{
    protected override Task HandleRequirementAsync(AuthorizationHandlerContext context, CallersAttribute requirement)
    {
        var subject = context.User.Subject();
        var allowed = subject.StartsWith("svc:", StringComparison.Ordinal)
            ? requirement.Services.Contains(subject["svc:".Length..], StringComparer.Ordinal)
            : requirement.Scope is { } scope && context.User.HasScope(scope);
        if (allowed)
        {
            context.Succeed(requirement);
        }

        return Task.CompletedTask;
    }
}

/// <summary>401 and 403 as problems; over gRPC as its statuses.</summary>
public sealed class AuthorizationProblems : IAuthorizationMiddlewareResultHandler
{
    private readonly AuthorizationMiddlewareResultHandler _next = new();

    public async Task HandleAsync(RequestDelegate next, HttpContext context, AuthorizationPolicy policy, PolicyAuthorizationResult authorizeResult)
    {
        if (authorizeResult.Succeeded)
        {
            await _next.HandleAsync(next, context, policy, authorizeResult);
        }
        else if (context.IsGrpc())
        {
            GrpcServer.Deny(context, !authorizeResult.Challenged, policy.Requirements.OfType<CallersAttribute>().FirstOrDefault()?.Scope);
        }
        else if (authorizeResult.Challenged)
        {
            await WriteChallengeAsync(context, (await context.AuthenticateAsync()).Failure);
        }
        else if (policy.Requirements.OfType<ScopeRequirement>().FirstOrDefault() is { } scope)
        {
            context.Response.Headers.WWWAuthenticate = $"Bearer error=\"insufficient_scope\", scope=\"{scope.Scope}\"";
            await Problems.WriteAsync(context, ProblemCodes.InsufficientScope, $"This needs the scope {scope.Scope}.");
        }
        else
        {
            await Problems.WriteAsync(context, ProblemCodes.Forbidden);
        }
    }

    /// <summary>401 (RFC 6750, section 3): without a reason when no credentials came, else with the one that may be told.</summary>
    private static Task WriteChallengeAsync(HttpContext http, Exception? failure)
    {
        if (failure is null)
        {
            http.Response.Headers.WWWAuthenticate = "Bearer realm=\"crm\"";
            return Problems.WriteAsync(http, ProblemCodes.Unauthenticated, "Send a valid key or token as Authorization: Bearer ….");
        }

        var reason = failure is CredentialException told ? told.Message : "The token is not valid.";
        http.Response.Headers.WWWAuthenticate = $"Bearer realm=\"crm\", error=\"invalid_token\", error_description=\"{reason}\"";
        return Problems.WriteAsync(http, ProblemCodes.Unauthenticated, reason);
    }
}

/// <summary>Why credentials are not accepted, in words that the caller may read: printable ASCII without quotes.</summary>
public sealed class CredentialException(string reason) : Exception(reason);
