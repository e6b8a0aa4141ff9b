using System.Collections.Concurrent;
using Crm.Contracts.Events;
using MassTransit;

namespace Crm.Testing;

/// <summary>Publishes events in the place of a service that is not there, with ids of the test's choosing.</summary>
public sealed class TestBus : IAsyncDisposable
{
    private readonly IBusControl _bus;

    private TestBus(IBusControl bus) => _bus = bus;

    public static async Task<TestBus> StartAsync(string uri, CancellationToken ct = default)
    {
        var bus = Bus.Factory.CreateUsingRabbitMq(rabbit =>
        {
            rabbit.Host(new Uri(uri), "test", h => h.PublisherConfirmation = true);
            rabbit.MessageTopology.SetEntityNameFormatter(new ExchangeNames());
        });
        await bus.StartAsync(ct);
        return new(bus);
    }

    /// <param name="messageId">The same id again is a redelivery; a new one when it is not given.</param>
    public Task PublishAsync<T>(T integrationEvent, Guid? messageId = null, CancellationToken ct = default) where T : class =>
        _bus.Publish(integrationEvent, Pipe.Execute<PublishContext<T>>(context => context.MessageId = messageId ?? Guid.CreateVersion7()), ct);

    /// <summary>Everything of this type that is published from now on.</summary>
    public async Task<ConcurrentQueue<T>> ListenAsync<T>() where T : class
    {
        var heard = new ConcurrentQueue<T>();
        var endpoint = _bus.ConnectReceiveEndpoint(new TemporaryEndpointDefinition(), configureEndpoint: e => e.Handler<T>(context =>
        {
            heard.Enqueue(context.Message);
            return Task.CompletedTask;
        }));
        await endpoint.Ready;
        return heard;
    }

    public async ValueTask DisposeAsync() => await _bus.StopAsync();

    private sealed class ExchangeNames : IEntityNameFormatter
    {
        public string FormatEntityName<T>() => typeof(T).IsDefined(typeof(EventNameAttribute), inherit: false)
            ? EventCatalog.Of(typeof(T)).Exchange
            : $"crm.internal.{typeof(T).Name}";
    }
}
