using System.Collections.Concurrent;
using Crm.Contracts.Events;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace Crm.Hosting.Messaging;

/// <summary>
/// The relay's own connection: a few channels with publisher confirms, one publish at a time on each. It is never
/// mended: after any failure it is thrown away and a new one is opened. (MassTransit's send transport, and the client's
/// recovery, can wait for ever on a channel that was cut in the middle: rabbitmq/rabbitmq-dotnet-client#1930.)
/// </summary>
internal sealed class BrokerLink : IAsyncDisposable
{
    /// <summary>Publishes that wait for their confirm at the same time.</summary>
    public const int Channels = 16;

    /// <summary>For connecting, and for the confirm of one publish.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private readonly IConnection _connection;
    private readonly ConcurrentBag<IChannel> _idle = [];
    private readonly SemaphoreSlim _free = new(0);

    private BrokerLink(IConnection connection) => _connection = connection;

    /// <summary>
    /// Connects, and declares the exchange of every event that the service publishes and the queues that must receive
    /// it, exactly as MassTransit's consumers declare them: without it what is published before the first start of a
    /// consumer would be gone.
    /// </summary>
    public static async Task<BrokerLink> OpenAsync(BusOptions options, string service, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Limit);
        var factory = options.Connections($"{service} relay");
        factory.AutomaticRecoveryEnabled = false;
        factory.TopologyRecoveryEnabled = false;
        factory.ContinuationTimeout = Limit;
        factory.RequestedConnectionTimeout = Limit;
        var link = new BrokerLink(await factory.CreateConnectionAsync(limit.Token).WaitAsync(Limit, ct));
        try
        {
            await link.PrepareAsync(service, limit.Token).WaitAsync(Limit, ct);
            return link;
        }
        catch
        {
            await link.DisposeAsync();
            throw;
        }
    }

    /// <summary>Publishes persistent, and returns when the broker has confirmed.</summary>
    /// <param name="mandatory">It must reach a queue.</param>
    /// <exception cref="RabbitMQ.Client.Exceptions.PublishException">The broker returned or refused the message.</exception>
    /// <exception cref="TimeoutException">No confirm in time: the message may have arrived. The link is of no more use.</exception>
    public async Task PublishAsync(string exchange, string routingKey, BasicProperties properties, ReadOnlyMemory<byte> body, bool mandatory, CancellationToken ct)
    {
        await _free.WaitAsync(ct);
        if (!_idle.TryTake(out var channel))
        {
            throw new InvalidOperationException("No channel is free.");
        }

        try
        {
            properties.Persistent = true;
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
            limit.CancelAfter(Limit);
            await channel.BasicPublishAsync(exchange, routingKey, mandatory, properties, body, limit.Token).AsTask().WaitAsync(Limit, ct);
        }
        finally
        {
            _idle.Add(channel);
            _free.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            // Closing politely can hang as well; the socket is closed all the same.
            await _connection.AbortAsync(TimeSpan.FromMilliseconds(500)).WaitAsync(TimeSpan.FromSeconds(1));
        }
        catch (TimeoutException)
        {
            // The connection is gone in any case.
        }

        _free.Dispose();
    }

    private async Task PrepareAsync(string service, CancellationToken ct)
    {
        await using (var setup = await _connection.CreateChannelAsync(cancellationToken: ct))
        {
            foreach (var route in EventCatalog.PublishedBy(service))
            {
                await setup.ExchangeDeclareAsync(route.Exchange, ExchangeType.Fanout, durable: true, cancellationToken: ct);
                foreach (var queue in route.Queues)
                {
                    await setup.ExchangeDeclareAsync(queue, ExchangeType.Fanout, durable: true, cancellationToken: ct);
                    await setup.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, cancellationToken: ct);
                    await setup.QueueBindAsync(queue, queue, "", cancellationToken: ct);
                    await setup.ExchangeBindAsync(queue, route.Exchange, "", cancellationToken: ct);
                }
            }
        }

        for (var i = 0; i < Channels; i++)
        {
            _idle.Add(await _connection.CreateChannelAsync(
                new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), ct));
        }

        _free.Release(Channels);
    }
}
