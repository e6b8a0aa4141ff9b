using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;

namespace Grpc.Net.ClientFactory;

public abstract class GrpcClientFactory
{
    /// <summary>Makes a client with the configuration registered under the name.</summary>
    public abstract TClient CreateClient<TClient>(string name)
        where TClient : class;
}

public enum InterceptorScope
{
    /// <summary>One instance for all clients on the channel.</summary>
    Channel,

    /// <summary>One instance for each client.</summary>
    Client,
}

public class InterceptorRegistration
{
    public InterceptorRegistration(InterceptorScope scope, Func<IServiceProvider, Interceptor> creator)
    {
        ArgumentNullException.ThrowIfNull(creator);
        Scope = scope;
        Creator = creator;
    }

    public InterceptorScope Scope { get; }

    internal Func<IServiceProvider, Interceptor> Creator { get; }
}

public sealed class CallOptionsContext
{
    internal CallOptionsContext(CallOptions callOptions, IServiceProvider serviceProvider)
    {
        CallOptions = callOptions;
        ServiceProvider = serviceProvider;
    }

    public CallOptions CallOptions { get; set; }

    public IServiceProvider ServiceProvider { get; }
}

public class GrpcClientFactoryOptions
{
    public Uri? Address { get; set; }

    public IList<Action<GrpcChannelOptions>> ChannelOptionsActions { get; } = [];

    public IList<Action<CallOptionsContext>> CallOptionsActions { get; } = [];

    public IList<InterceptorRegistration> InterceptorRegistrations { get; } = [];

    public Func<CallInvoker, object>? Creator { get; set; }
}
