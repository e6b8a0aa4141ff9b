using System.Net.Sockets;
using Crm.Hosting.Auth;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client.Configuration;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Crm.Hosting.Rpc;

public static class GrpcClients
{
    /// <summary>
    /// A client of another service over h2c: its address is <c>Peers:&lt;peer&gt;</c>, every call has a
    /// deadline (five seconds when the caller gives none: a peer that has just started may need three for its first answer), carries this service's own token when the caller
    /// gives no other, and is tried again when the peer is unavailable only if it is named as idempotent.
    /// </summary>
    public static IHttpClientBuilder AddCrmGrpcClient<TClient>(this IHostApplicationBuilder builder, string peer, string service, params string[] idempotentMethods)
        where TClient : ClientBase => builder.AddCrmGrpcClientNamed<TClient>(peer, service, typeof(TClient).Name, idempotentMethods);

    /// <inheritdoc cref="AddCrmGrpcClient"/>
    /// <param name="name">For <see cref="Grpc.Net.ClientFactory.GrpcClientFactory"/>, where several peers serve the same service.</param>
    public static IHttpClientBuilder AddCrmGrpcClientNamed<TClient>(this IHostApplicationBuilder builder, string peer, string service, string name, params string[] idempotentMethods)
        where TClient : ClientBase
    {
        builder.Services.AddSingleton<CallDefaults>();
        if (!builder.Services.HasSetting($"Peers__{peer}"))
        {
            builder.Services.AddSetting(new($"Peers__{peer}", Required: true));
            builder.Services.AddOptions<PeerAddress>(peer).Configure<IConfiguration>((options, configuration) => options.Value = configuration[$"Peers:{peer}"])
                .Validate(options => Uri.TryCreate(options.Value, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https", $"Peers:{peer} is the gRPC address of a service, http://host:port.")
                .ValidateOnStart();
        }

        return builder.Services
            .AddGrpcClient<TClient>(name, (provider, client) => client.Address = new Uri(
                provider.GetRequiredService<IOptionsMonitor<PeerAddress>>().Get(peer).Value!))
            .ConfigureChannel(channel =>
            {
                channel.UnsafeUseInsecureChannelCallCredentials = true;
                channel.ServiceConfig = new ServiceConfig
                {
                    MethodConfigs =
                    {
                        Retrying(service, idempotentMethods),
                    },
                };
            })
            .ConfigurePrimaryHttpMessageHandler(() => new SocketsHttpHandler
            {
                EnableMultipleHttp2Connections = true,
                ConnectTimeout = TimeSpan.FromSeconds(1),
                PooledConnectionIdleTimeout = TimeSpan.FromMinutes(2),
                // One connection carries all calls: without an end of it a new replica would never get any.
                PooledConnectionLifetime = TimeSpan.FromMinutes(2),
                KeepAlivePingDelay = TimeSpan.FromSeconds(20),
                KeepAlivePingTimeout = TimeSpan.FromSeconds(5),
            })
            .AddHttpMessageHandler(() => new UnmadeConnections())
            .AddInterceptor<CallDefaults>();
    }

    private static MethodConfig Retrying(string service, string[] methods)
    {
        var config = new MethodConfig
        {
            RetryPolicy = new RetryPolicy
            {
                MaxAttempts = 3,
                InitialBackoff = TimeSpan.FromMilliseconds(50),
                MaxBackoff = TimeSpan.FromMilliseconds(500),
                BackoffMultiplier = 3,
                RetryableStatusCodes = { StatusCode.Unavailable },
            },
        };
        foreach (var method in methods)
        {
            config.Names.Add(new MethodName { Service = service, Method = method });
        }

        return config;
    }
}

/// <summary>
/// A connection that is not made in time ends as a cancelled call, which gRPC tells like one that its caller gave up. It means
/// what a refused one does: the peer is unavailable, and an idempotent call is tried again.
/// </summary>
internal sealed class UnmadeConnections : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await base.SendAsync(request, cancellationToken);
        }
        catch (OperationCanceledException exception) when (exception.InnerException is TimeoutException && !cancellationToken.IsCancellationRequested)
        {
            throw new HttpRequestException(HttpRequestError.ConnectionError, "The connection was not made in time.", new SocketException((int)SocketError.TimedOut));
        }
    }
}

/// <summary>Where a peer listens.</summary>
internal sealed class PeerAddress
{
    public string? Value { get; set; }
}

/// <summary>A deadline and a token on every call that has none.</summary>
internal sealed class CallDefaults(InternalTokens tokens, TimeProvider clock) : Interceptor
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StreamDeadline = TimeSpan.FromMinutes(10);

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncUnaryCallContinuation<TRequest, TResponse> continuation) =>
        continuation(request, WithDefaults(context, Deadline));

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncServerStreamingCallContinuation<TRequest, TResponse> continuation) =>
        continuation(request, WithDefaults(context, StreamDeadline));

    private ClientInterceptorContext<TRequest, TResponse> WithDefaults<TRequest, TResponse>(ClientInterceptorContext<TRequest, TResponse> context, TimeSpan deadline)
        where TRequest : class
        where TResponse : class
    {
        var options = context.Options;
        if (options.Deadline is null)
        {
            options = options.WithDeadline((clock.GetUtcNow() + deadline).UtcDateTime);
        }

        if (options.Headers?.Get("authorization") is null)
        {
            var headers = new Metadata();
            foreach (var entry in options.Headers ?? [])
            {
                headers.Add(entry);
            }

            headers.Add("authorization", $"Bearer {tokens.Own()}");
            options = options.WithHeaders(headers);
        }

        return new(context.Method, context.Host, options);
    }
}
