using System.Diagnostics;
using System.Diagnostics.Metrics;
using Crm.Contracts.Events;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Npgsql;
using RabbitMQ.Client.Exceptions;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Publishes committed events with publisher confirms and deletes them afterwards. Relays of several
/// replicas divide 64 partitions by row locks. Events of one aggregate go in order; one that the broker
/// refuses blocks its own aggregate only. While the broker is away the relay pauses and probes, and
/// nothing is counted against anybody.
/// </summary>
internal sealed partial class OutboxRelay(
    NpgsqlDataSource dataSource,
    IOptions<BusOptions> options,
    ServiceName service,
    DeadLetters deadLetters,
    OutboxSignal signal,
    ILogger<OutboxRelay> logger) : BackgroundService
{
    private const int BatchSize = 256;
    private const int PartitionsAtOnce = 32;
    private const int MaxAttempts = 20;

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private static readonly Counter<long> Sent =
        Telemetry.Meter.CreateCounter<long>("messaging.client.sent.messages", "{message}", "Events confirmed by the broker");

    private static readonly Counter<long> Failures =
        Telemetry.Meter.CreateCounter<long>("crm.outbox.relay_failures", description: "Publishes returned, refused or not confirmed in time, and rounds that failed because broker or database were away");

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var pause = TimeSpan.Zero;
        BrokerLink? link = null;
        // A counter that has never counted is not there, and what is not there raises no alert.
        Failures.Add(0);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                link ??= await BrokerLink.OpenAsync(options.Value, service.Value, stoppingToken);
                var outcome = await RelayBatchAsync(link, stoppingToken);
                if (outcome == Outcome.Paused)
                {
                    link = await DropAsync(link);
                    pause = Longer(pause);
                    await Task.Delay(pause, stoppingToken);
                    continue;
                }

                pause = TimeSpan.Zero;
                if (outcome == Outcome.Idle)
                {
                    await deadLetters.ReplayAskedAsync(link, stoppingToken);
                    await signal.WaitAsync(Poll, stoppingToken);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                break;
            }
            catch (Exception exception)
            {
                Failures.Add(1);
                LogPaused(exception.GetType().Name, exception.Message);
                link = await DropAsync(link);
                pause = Longer(pause);
                await Task.Delay(pause, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        await DropAsync(link);
    }

    private static async Task<BrokerLink?> DropAsync(BrokerLink? link)
    {
        if (link is not null)
        {
            await link.DisposeAsync();
        }

        return null;
    }

    private static TimeSpan Longer(TimeSpan pause) =>
        TimeSpan.FromMilliseconds(Math.Clamp(pause.TotalMilliseconds * 2, 250, LongestPause.TotalMilliseconds));

    private async Task<Outcome> RelayBatchAsync(BrokerLink link, CancellationToken ct)
    {
        // The relay's own statements leave no spans: one for each poll would bury everything.
        Activity.Current = null;
        using var quiet = QuietWork.Begin();
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await using (var limit = new NpgsqlCommand("SET LOCAL idle_in_transaction_session_timeout = '30s'", connection))
        {
            await limit.ExecuteNonQueryAsync(ct);
        }

        var pending = await ReadAsync(connection, ct);
        if (pending.Count == 0)
        {
            return Outcome.Idle;
        }

        var confirmed = new List<Guid>(pending.Count);
        var refused = new List<(Pending Message, Exception Error)>();
        var brokerAway = false;
        await Task.WhenAll(pending.GroupBy(m => m.AggregateId).Select(async aggregate =>
        {
            foreach (var message in aggregate)
            {
                if (message.Blocked || Volatile.Read(ref brokerAway))
                {
                    return;
                }

                try
                {
                    await PublishAsync(link, message, ct);
                    lock (confirmed)
                    {
                        confirmed.Add(message.Id);
                    }
                }
                catch (Exception exception) when (IsRefusal(exception))
                {
                    Failures.Add(1);
                    lock (refused)
                    {
                        refused.Add((message, exception));
                    }

                    return;
                }
                catch (Exception) when (ct.IsCancellationRequested)
                {
                    return;
                }
                catch (Exception exception)
                {
                    Failures.Add(1);
                    LogPaused(exception.GetType().Name, exception.Message);
                    Volatile.Write(ref brokerAway, true);
                    return;
                }
            }
        }));

        // What the broker has confirmed is deleted even when the process is asked to stop meanwhile.
        await SettleAsync(connection, confirmed, refused);
        await transaction.CommitAsync(CancellationToken.None);
        return brokerAway ? Outcome.Paused : confirmed.Count == 0 ? Outcome.Idle : Outcome.Worked;
    }

    private static async Task<List<Pending>> ReadAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        // The oldest events name the aggregates; each aggregate's events are then taken from its first on.
        await using var command = new NpgsqlCommand("""
            WITH mine AS MATERIALIZED (
                SELECT p.id FROM outbox_partition p
                WHERE EXISTS (SELECT 1 FROM outbox o WHERE o.partition = p.id AND o.next_at <= now())
                ORDER BY random() -- of a long backlog each has its turn
                LIMIT @partitions FOR UPDATE SKIP LOCKED),
            aggregates AS MATERIALIZED (
                SELECT DISTINCT aggregate_id FROM (
                    SELECT aggregate_id FROM outbox
                    WHERE partition IN (SELECT id FROM mine) AND next_at <= now()
                    ORDER BY created_at LIMIT @batch) AS oldest)
            SELECT o.id, o.aggregate_id, o.aggregate_seq, o.type, o.payload::text, o.traceparent, o.tracestate, o.baggage,
                   o.attempts, o.next_at > now(), o.created_at
            FROM outbox o JOIN aggregates USING (aggregate_id)
            ORDER BY o.aggregate_id, o.aggregate_seq
            LIMIT @rows
            """, connection);
        command.Parameters.Add(new NpgsqlParameter<int>("partitions", PartitionsAtOnce));
        command.Parameters.Add(new NpgsqlParameter<int>("batch", BatchSize));
        command.Parameters.Add(new NpgsqlParameter<int>("rows", 2 * BatchSize));
        await using var reader = await command.ExecuteReaderAsync(ct);
        var pending = new List<Pending>();
        while (await reader.ReadAsync(ct))
        {
            pending.Add(new Pending(
                reader.GetGuid(0), reader.GetGuid(1), reader.GetInt64(2), reader.GetString(3), reader.GetString(4),
                reader.IsDBNull(5) ? null : reader.GetString(5),
                reader.IsDBNull(6) ? null : reader.GetString(6),
                reader.IsDBNull(7) ? null : reader.GetString(7),
                reader.GetInt32(8), reader.GetBoolean(9), reader.GetFieldValue<DateTimeOffset>(10)));
        }

        return pending;
    }

    private static async Task PublishAsync(BrokerLink link, Pending message, CancellationToken ct)
    {
        var route = EventCatalog.Of(message.Type);
        using var loud = OpenTelemetry.SuppressInstrumentationScope.Begin(false);
        using var activity = TraceHeaders.Start($"send {route.Exchange}", ActivityKind.Producer, message.Traceparent, message.Tracestate, message.Baggage);
        activity.SetTag("messaging.system", "rabbitmq")
            .SetTag("messaging.operation.name", "send")
            .SetTag("messaging.operation.type", "send")
            .SetTag("messaging.destination.name", route.Exchange)
            .SetTag("messaging.message.id", message.Id);
        var (properties, body) = Envelope.Write(message.Id, route, message.Payload, message.CreatedAt, activity.Id, message.Tracestate, message.Baggage);
        await link.PublishAsync(route.Exchange, "", properties, body, mandatory: route.Queues.Count > 0, ct);
        Sent.Add(1, new("messaging.system", "rabbitmq"), new("messaging.operation.name", "send"), new("messaging.destination.name", route.Exchange));
    }

    /// <summary>Returned or nacked: the message's own fault, or its routing's. Anything else is the connection's.</summary>
    private static bool IsRefusal(Exception exception) => exception is PublishException or UnknownEventException;

    private async Task SettleAsync(NpgsqlConnection connection, List<Guid> confirmed, List<(Pending Message, Exception Error)> refused)
    {
        if (confirmed.Count > 0)
        {
            await using var delete = new NpgsqlCommand("DELETE FROM outbox WHERE id = ANY (@ids)", connection);
            delete.Parameters.Add(new NpgsqlParameter<Guid[]>("ids", [.. confirmed]));
            await delete.ExecuteNonQueryAsync(CancellationToken.None);
        }

        foreach (var (message, error) in refused)
        {
            if (message.Attempts + 1 >= MaxAttempts)
            {
                await DeadLetters.MoveFromOutboxAsync(connection, message.Id, error);
                LogDead(message.Id, message.Type);
                continue;
            }

            await using var backoff = new NpgsqlCommand("""
                UPDATE outbox SET attempts = attempts + 1, last_error = @error,
                    next_at = now() + least(interval '5 minutes', interval '1 second' * power(2, attempts)) * (0.75 + random() / 2)
                WHERE id = @id
                """, connection);
            backoff.Parameters.Add(new NpgsqlParameter<string>("error", $"{error.GetType().Name}: {error.Message}"));
            backoff.Parameters.Add(new NpgsqlParameter<Guid>("id", message.Id));
            await backoff.ExecuteNonQueryAsync(CancellationToken.None);
            LogRefused(message.Id, message.Type, error.GetType().Name);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The broker cannot be reached, publishing pauses ({Error}: {Detail})")]
    private partial void LogPaused(string error, string detail);

    [LoggerMessage(LogLevel.Warning, "The broker refused message {MessageId} of type {Type} ({Error}); its aggregate waits")]
    private partial void LogRefused(Guid messageId, string type, string error);

    [LoggerMessage(LogLevel.Error, "Message {MessageId} of type {Type} is on the dead-letter list")]
    private partial void LogDead(Guid messageId, string type);

    private enum Outcome
    {
        Idle,
        Worked,
        Paused,
    }

    private sealed record Pending(
        Guid Id,
        Guid AggregateId,
        long AggregateSeq,
        string Type,
        string Payload,
        string? Traceparent,
        string? Tracestate,
        string? Baggage,
        int Attempts,
        bool Blocked,
        DateTimeOffset CreatedAt);
}
