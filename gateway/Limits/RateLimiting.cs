using System.Globalization;
using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.Extensions.Options;
using Yarp.ReverseProxy.Model;

namespace Crm.Gateway.Limits;

/// <summary>
/// One request, one unit of the caller's quota. The headers are those of
/// draft-ietf-httpapi-ratelimit-headers-08 and later: a policy by name, <c>q</c> its quota, <c>w</c> its
/// window, <c>r</c> what is left and <c>t</c> the seconds until the window ends.
/// </summary>
internal static class RateLimiting
{
    public static async Task LimitAsync(HttpContext http, RequestDelegate next)
    {
        // Probes and the services' look at the signing keys are never limited.
        if (http.Request.Path.StartsWithSegments("/health", StringComparison.Ordinal) || http.GetEndpoint()?.Metadata.GetMetadata<Unlimited>() is not null)
        {
            await next(http);
            return;
        }

        var caller = http.Features.Get<Caller>();
        var options = http.RequestServices.GetRequiredService<IOptions<GatewayOptions>>().Value;
        var (policy, limit) = caller is not null ? ("default", caller.RequestsPerMinute)
            : http.GetEndpoint()?.Metadata.GetMetadata<RouteModel>()?.Config.RouteId == "links" ? ("links", options.LinkRequestsPerMinute)
            : ("anonymous", options.AnonymousRequestsPerMinute);
        var quota = caller is null
            ? http.RequestServices.GetRequiredService<AddressLimiter>().Take(policy, limit, http.Connection.RemoteIpAddress)
            : await http.RequestServices.GetRequiredService<Quotas>().TakeAsync(caller.Subject.Subject, limit, http.RequestAborted);

        http.Response.OnStarting(() =>
        {
            http.Response.Headers["RateLimit-Policy"] = string.Create(CultureInfo.InvariantCulture, $"\"{policy}\";q={quota.Limit};w=60");
            http.Response.Headers["RateLimit"] = string.Create(CultureInfo.InvariantCulture, $"\"{policy}\";r={quota.Remaining};t={quota.ResetSeconds}");
            return Task.CompletedTask;
        });
        if (quota.Admitted)
        {
            await next(http);
            return;
        }

        http.Response.Headers.RetryAfter = quota.ResetSeconds.ToString(CultureInfo.InvariantCulture);
        await Problems.WriteAsync(http, Problems.Create(
            http, ProblemCodes.RateLimited, $"The policy \"{policy}\" allows {quota.Limit} requests a minute; try again in {quota.ResetSeconds} s.",
            extensions: new Dictionary<string, object?>(StringComparer.Ordinal) { ["policy"] = policy }));
    }

    /// <summary>Never counted.</summary>
    public static TBuilder WithoutLimit<TBuilder>(this TBuilder endpoint) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new Unlimited());

    private sealed record Unlimited;
}
