using Crm.Contracts.Events;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Declares the exchange of every event that this service publishes, and the queues that must receive it,
/// exactly as MassTransit's consumers declare them: without it what is published before the first start
/// of a consumer would be gone.
/// </summary>
internal sealed class BusTopology(IOptions<BusOptions> options, RelayIdentity identity)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    public async Task DeclareAsync(CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Limit);
        var factory = new ConnectionFactory { Uri = options.Value.Uri, ClientProvidedName = $"{identity.Service} topology", AutomaticRecoveryEnabled = false };
        await using var connection = await factory.CreateConnectionAsync(limit.Token);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: limit.Token);
        foreach (var route in EventCatalog.PublishedBy(identity.Service))
        {
            await channel.ExchangeDeclareAsync(route.Exchange, ExchangeType.Fanout, durable: true, cancellationToken: limit.Token);
            foreach (var queue in route.Queues)
            {
                await channel.ExchangeDeclareAsync(queue, ExchangeType.Fanout, durable: true, cancellationToken: limit.Token);
                await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, cancellationToken: limit.Token);
                await channel.QueueBindAsync(queue, queue, "", cancellationToken: limit.Token);
                await channel.ExchangeBindAsync(queue, route.Exchange, "", cancellationToken: limit.Token);
            }
        }
    }
}
