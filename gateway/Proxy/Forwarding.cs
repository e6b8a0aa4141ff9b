using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using Crm.Contracts;
using Crm.Gateway.Authentication;
using Crm.Hosting;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.Features;
using Yarp.ReverseProxy.Forwarder;
using Yarp.ReverseProxy.Model;
using Yarp.ReverseProxy.Transforms;

namespace Crm.Gateway.Proxy;

/// <summary>
/// What crosses the gateway. Of the caller's headers only those named here: a service never sees a header
/// that claims who somebody is. In their place stands the token that the gateway minted for the caller.
/// </summary>
internal static class Forwarding
{
    private static readonly string[] RequestHeaders =
    [
        "Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Length", "Content-Type", "Expect",
        "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "User-Agent", "traceparent", "tracestate",
    ];

    public static void AddForwarding(this IServiceCollection services, IConfiguration configuration)
    {
        foreach (var service in ServiceAddresses.ServicesOf(configuration))
        {
            services.AddSetting(new($"Services__{service}", Required: true));
        }

        services.AddReverseProxy()
            .LoadFromConfig(configuration.GetSection("ReverseProxy"))
            .AddConfigFilter<ServiceAddresses>()
            .ConfigureHttpClient((_, handler) =>
            {
                handler.ConnectTimeout = TimeSpan.FromSeconds(2);
                // As they came in: Kestrel reads them so, and a header that cannot be sent on would be the service's failure.
                handler.RequestHeaderEncodingSelector = (_, _) => Encoding.UTF8;
                handler.ConnectCallback = ServiceConnections.OpenAsync;
                // Shorter than the five seconds for which a service drains: whatever is still open when it ends was not used for
                // a while, so no request is on its way on it. (Those in use are ended by the answers of a service that drains.)
                handler.PooledConnectionIdleTimeout = TimeSpan.FromSeconds(3);
                // A connection stays with one replica of a service; its end lets new ones have their share.
                handler.PooledConnectionLifetime = TimeSpan.FromMinutes(2);
                handler.MaxConnectionsPerServer = 512;
            })
            .AddTransforms(transforms =>
            {
                transforms.CopyRequestHeaders = false;
                transforms.UseDefaultForwarders = false;
                transforms.RequestTransforms.Add(new RequestHeadersAllowedTransform(RequestHeaders));
                transforms.AddRequestTransform(context =>
                {
                    var http = context.HttpContext;
                    var caller = http.Features.Get<Caller>();
                    if (caller is null)
                    {
                        // Only routes with the policy anonymous come here: the links of mails.
                        context.ProxyRequest.Headers.TryAddWithoutValidation(ClientAddress.Header, http.Connection.RemoteIpAddress?.ToString());
                        caller = Caller.Public;
                    }

                    var token = http.RequestServices.GetRequiredService<CallerTokens>().For(caller);
                    context.ProxyRequest.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
                    return ValueTask.CompletedTask;
                });
                transforms.AddResponseTransform(context =>
                {
                    // The caller is known here, so this is a service that does not trust the gateway (yet): not the caller's fault.
                    if (context.ProxyResponse is { StatusCode: System.Net.HttpStatusCode.Unauthorized })
                    {
                        context.SuppressResponseBody = true;
                        context.HttpContext.Response.Headers.Clear();
                        context.HttpContext.Features.Set(new DistrustFeature());
                    }

                    return ValueTask.CompletedTask;
                });
            });
    }

    /// <summary>Failures of forwarding as problems: 413, 400, 502, 503, 504.</summary>
    public static void UseForwardingProblems(this IApplicationBuilder proxy) => proxy.Use(async (http, next) =>
    {
        // The forwarder leaves out what is empty, and the service would take the call for one without a key.
        if (http.Request.Headers.TryGetValue(Idempotency.Header, out var keys) && keys.All(string.IsNullOrEmpty))
        {
            await Idempotency.RefuseAsync(http);
            return;
        }

        await next(http);
        if (http.Response.HasStarted || http.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        if (http.Features.Get<DistrustFeature>() is not null)
        {
            await WriteAsync(http, ProblemCodes.Unavailable, "The service does not accept the gateway's token yet; try again.");
        }
        else if (http.GetForwarderErrorFeature() is { } failure)
        {
            var (code, detail) = Describe(failure);
            await WriteAsync(http, code, detail);
        }
    });

    private static (ProblemCode Code, string Detail) Describe(IForwarderErrorFeature failure) => failure switch
    {
        { Exception: { } e } when Find<BadHttpRequestException>(e) is { StatusCode: StatusCodes.Status413PayloadTooLarge } =>
            (ProblemCodes.BodyTooLarge, "The body is larger than this endpoint accepts."),
        { Exception: { } e } when Find<BadHttpRequestException>(e) is { StatusCode: StatusCodes.Status408RequestTimeout } =>
            (ProblemCodes.Timeout, "The body came too slowly."),
        { Exception: { } e } when Find<BadHttpRequestException>(e) is not null =>
            (ProblemCodes.BadRequest, "The body could not be read."),
        { Error: ForwarderError.RequestTimedOut or ForwarderError.RequestBodyDestination } when failure.Exception is null or OperationCanceledException or TimeoutException =>
            (ProblemCodes.GatewayTimeout, "The service took too long."),
        { Error: ForwarderError.RequestTimedOut } => (ProblemCodes.GatewayTimeout, "The service took too long."),
        { Exception: { } e } when Find<HttpRequestException>(e) is { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError } =>
            (ProblemCodes.Unavailable, "The service cannot be reached; try again."),
        { Error: ForwarderError.NoAvailableDestinations } => (ProblemCodes.Unavailable, "The service cannot be reached; try again."),
        _ => (ProblemCodes.BadGateway, "The service gave no usable answer."),
    };

    private static async Task WriteAsync(HttpContext http, ProblemCode code, string detail)
    {
        http.Response.Clear();
        if (code == ProblemCodes.Unavailable)
        {
            http.Response.Headers.RetryAfter = 1.ToString(CultureInfo.InvariantCulture);
        }

        await Problems.WriteAsync(http, code, detail);
    }

    private static T? Find<T>(Exception exception) where T : Exception
    {
        for (var e = exception; e is not null; e = e.InnerException)
        {
            if (e is T found)
            {
                return found;
            }

            if (e is AggregateException aggregate && aggregate.InnerExceptions.Select(Find<T>).FirstOrDefault(f => f is not null) is { } inner)
            {
                return inner;
            }
        }

        return null;
    }

    private sealed record DistrustFeature;
}

/// <summary>The trace of a caller goes on; its baggage does not: it would reach every service, the outbox and the bus.</summary>
internal sealed class TraceWithoutBaggage : DistributedContextPropagator
{
    private readonly DistributedContextPropagator _w3c = CreateW3CPropagator();

    public override IReadOnlyCollection<string> Fields => _w3c.Fields;

    public override IEnumerable<KeyValuePair<string, string?>>? ExtractBaggage(object? carrier, PropagatorGetterCallback? getter) => null;

    public override void ExtractTraceIdAndState(object? carrier, PropagatorGetterCallback? getter, out string? traceId, out string? traceState) =>
        _w3c.ExtractTraceIdAndState(carrier, getter, out traceId, out traceState);

    public override void Inject(Activity? activity, object? carrier, PropagatorSetterCallback? setter) => _w3c.Inject(activity, carrier, setter);
}
