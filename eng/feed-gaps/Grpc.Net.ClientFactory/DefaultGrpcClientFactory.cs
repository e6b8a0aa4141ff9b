using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Grpc.Net.ClientFactory.Internal;

/// <summary>Which client type a name belongs to: two types under one name would share one address by accident.</summary>
internal sealed class ClientRegistry
{
    private readonly Dictionary<string, Type> _typeByName = [];

    public void Reserve(Type client, string name)
    {
        if (!_typeByName.TryAdd(name, client) && _typeByName[name] != client)
        {
            throw new InvalidOperationException(
                $"The gRPC client name '{name}' is already used for the type '{_typeByName[name].FullName}'.");
        }
    }

    public bool IsKnown(string name) => _typeByName.ContainsKey(name);
}

/// <summary>One channel for each name, kept as long as the process lives.</summary>
internal sealed class ChannelCache(
    IServiceProvider services, IHttpMessageHandlerFactory handlers, IOptionsMonitor<GrpcClientFactoryOptions> options) : IDisposable
{
    private readonly ConcurrentDictionary<string, Lazy<(GrpcChannel Channel, CallInvoker Invoker)>> _channels = new();

    public CallInvoker Get(string name) =>
        _channels.GetOrAdd(name, n => new(() => Create(n), LazyThreadSafetyMode.ExecutionAndPublication)).Value.Invoker;

    public void Dispose()
    {
        foreach (var entry in _channels.Values)
        {
            if (entry.IsValueCreated)
            {
                entry.Value.Channel.Dispose();
            }
        }
    }

    private (GrpcChannel, CallInvoker) Create(string name)
    {
        var configuration = options.Get(name);
        var channelOptions = new GrpcChannelOptions
        {
            HttpHandler = handlers.CreateHandler(name),
            LoggerFactory = services.GetService<ILoggerFactory>(),
            ServiceProvider = services,
        };
        foreach (var configure in configuration.ChannelOptionsActions)
        {
            configure(channelOptions);
        }

        var address = configuration.Address
            ?? throw new InvalidOperationException($"Could not resolve the address for gRPC client '{name}'. Set an address when registering it.");
        var channel = GrpcChannel.ForAddress(address, channelOptions);
        var interceptors = configuration.InterceptorRegistrations
            .Where(r => r.Scope == InterceptorScope.Channel)
            .Select(r => r.Creator(services))
            .ToArray();
        return (channel, channel.CreateCallInvoker().Intercept(interceptors));
    }
}

internal sealed class DefaultGrpcClientFactory(
    IServiceProvider services, ChannelCache channels, ClientRegistry registry, IOptionsMonitor<GrpcClientFactoryOptions> options) : GrpcClientFactory
{
    public override TClient CreateClient<TClient>(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (!registry.IsKnown(name))
        {
            throw new InvalidOperationException($"No gRPC client configured with name '{name}'.");
        }

        var configuration = options.Get(name);
        var invoker = channels.Get(name);
        if (configuration.CallOptionsActions.Count > 0)
        {
            invoker = new ConfiguringCallInvoker(invoker, configuration.CallOptionsActions, services);
        }

        invoker = invoker.Intercept(configuration.InterceptorRegistrations
            .Where(r => r.Scope == InterceptorScope.Client)
            .Select(r => r.Creator(services))
            .ToArray());

        return configuration.Creator is { } creator
            ? (TClient)creator(invoker)
            : Activator<TClient>.Create(services, [invoker]);
    }

    private static class Activator<TClient>
    {
        public static readonly ObjectFactory<TClient> Create = ActivatorUtilities.CreateFactory<TClient>([typeof(CallInvoker)]);
    }

    private sealed class ConfiguringCallInvoker(
        CallInvoker inner, IList<Action<CallOptionsContext>> actions, IServiceProvider services) : CallInvoker
    {
        public override TResponse BlockingUnaryCall<TRequest, TResponse>(
            Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
            inner.BlockingUnaryCall(method, host, Configured(options), request);

        public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
            Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
            inner.AsyncUnaryCall(method, host, Configured(options), request);

        public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
            Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
            inner.AsyncServerStreamingCall(method, host, Configured(options), request);

        public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
            Method<TRequest, TResponse> method, string? host, CallOptions options) =>
            inner.AsyncClientStreamingCall(method, host, Configured(options));

        public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
            Method<TRequest, TResponse> method, string? host, CallOptions options) =>
            inner.AsyncDuplexStreamingCall(method, host, Configured(options));

        private CallOptions Configured(CallOptions options)
        {
            var context = new CallOptionsContext(options, services);
            foreach (var action in actions)
            {
                action(context);
            }

            return context.CallOptions;
        }
    }
}
