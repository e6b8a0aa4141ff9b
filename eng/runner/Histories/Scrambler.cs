using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace Crm.Runner.Histories;

/// <summary>
/// Stands between the exchanges and the queues of all consumers and makes the worst of what a bus may do: each message
/// arrives once, twice or three times, each time after a delay of its own, in any order. Messages are acknowledged when
/// their copies are in the queue, so nothing is lost here.
/// </summary>
public sealed class Scrambler : IAsyncDisposable
{
    private static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(400);

    private readonly RabbitMqServer _broker;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _working;
    private long _messages;
    private long _copies;

    private Scrambler(RabbitMqServer broker, IReadOnlyList<string> queues)
    {
        _broker = broker;
        _working = Task.Run(() => WorkAsync(queues));
    }

    /// <summary>Messages that came, and their copies.</summary>
    public (long Messages, long Copies) Counts => (Interlocked.Read(ref _messages), Interlocked.Read(ref _copies));

    /// <summary>Once the services have declared their queues.</summary>
    public static async Task<Scrambler> StartAsync(RabbitMqServer broker, CancellationToken ct)
    {
        var names = (await broker.ControlAsync(["list_queues", "-p", "crm", "--no-table-headers", "name"], ct)).Split('\n', StringSplitOptions.TrimEntries)
            .Where(q => q.StartsWith("crm.", StringComparison.Ordinal) && q.Count(c => c == '.') == 2).ToList();
        return new(broker, names);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _working.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        GC.SuppressFinalize(this);
    }

    private async Task WorkAsync(IReadOnlyList<string> queues)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var factory = new ConnectionFactory { Uri = new Uri(_broker.Uri), AutomaticRecoveryEnabled = false, ClientProvidedName = "scrambler" };
                await using var connection = await factory.CreateConnectionAsync(_stop.Token);
                await Task.WhenAll(queues.Select(q => ScrambleAsync(connection, q)));
            }
            catch (Exception e) when (e is BrokerUnreachableException or AlreadyClosedException or OperationInterruptedException or IOException)
            {
                // The broker was killed: what is not acknowledged comes again.
                await Task.Delay(500, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ScrambleAsync(IConnection connection, string queue)
    {
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), _stop.Token);
        var between = $"scrambler.{queue}";
        await channel.QueueDeclareAsync(between, durable: true, exclusive: false, autoDelete: false, cancellationToken: _stop.Token);
        await channel.QueueBindAsync(between, queue, "", cancellationToken: _stop.Token);
        await channel.BasicQosAsync(0, 200, global: false, _stop.Token);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, delivery) =>
        {
            // The body is the client's own, and gone after this.
            _ = PassOnAsync(channel, queue, delivery.DeliveryTag, new BasicProperties(delivery.BasicProperties), delivery.Body.ToArray());
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(between, autoAck: false, consumer, _stop.Token);
        while (channel.IsOpen && !_stop.IsCancellationRequested)
        {
            // A service that starts binds its queue again, past us.
            await channel.QueueUnbindAsync(queue, queue, "", cancellationToken: _stop.Token);
            await Task.Delay(1000, _stop.Token);
        }
    }

    private async Task PassOnAsync(IChannel channel, string queue, ulong tag, BasicProperties properties, byte[] body)
    {
        try
        {
            Interlocked.Increment(ref _messages);
            await Task.WhenAll(Enumerable.Range(0, Random.Shared.Next(1, 4)).Select(async _ =>
            {
                await Task.Delay(Longest * Random.Shared.NextDouble(), _stop.Token);
                await channel.BasicPublishAsync("", queue, mandatory: true, properties, body, _stop.Token);
                Interlocked.Increment(ref _copies);
            }));
            await channel.BasicAckAsync(tag, multiple: false, _stop.Token);
        }
        catch (Exception e) when (e is AlreadyClosedException or OperationInterruptedException or OperationCanceledException or PublishException)
        {
            // Not acknowledged: it comes again.
        }
    }
}
