using System.Diagnostics;
using Crm.Hosting.Data;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Crm.Hosting.Messaging;

/// <summary>
/// The effect of many messages at once, for a consumer that has set-based SQL for it; in one transaction with their inbox
/// rows. They come in no order. When it fails, each message is consumed by itself.
/// </summary>
public interface IBatchConsumer<in TMessage> where TMessage : class
{
    Task ConsumeAsync(IReadOnlyList<TMessage> messages, CancellationToken ct);
}

/// <summary>
/// Group commit of consumers: what arrives while a transaction is under way goes into the next one, together. A message
/// that comes alone waits for nothing.
/// </summary>
internal sealed partial class InboxBatches<TMessage>(IServiceScopeFactory scopes, IServiceProviderIsService services, ILogger<InboxBatches<TMessage>> logger) where TMessage : class
{
    /// <summary>Messages that a consumer with batches may have in work: the most of one transaction.</summary>
    public const int Most = 64;

    private readonly bool _batched = services.IsService(typeof(IBatchConsumer<TMessage>));
    private readonly Queue<Waiting> _waiting = [];
    private bool _working;

    /// <summary>True when the message has had its effect; false when it has to be consumed by itself.</summary>
    public Task<bool> TryConsumeAsync(string consumer, Guid messageId, TMessage message)
    {
        if (!_batched)
        {
            return Task.FromResult(false);
        }

        var waiting = new Waiting(messageId, message, Activity.Current);
        lock (_waiting)
        {
            _waiting.Enqueue(waiting);
            if (!_working)
            {
                _working = true;
                _ = Task.Run(() => WorkAsync(consumer));
            }
        }

        return waiting.Done.Task;
    }

    private async Task WorkAsync(string consumer)
    {
        while (true)
        {
            List<Waiting> batch;
            lock (_waiting)
            {
                batch = [.. Enumerable.Range(0, Math.Min(_waiting.Count, Most)).Select(_ => _waiting.Dequeue())];
                _working = batch.Count > 0;
            }

            if (batch.Count == 0)
            {
                return;
            }

            var done = await TryConsumeAsync(consumer, batch);
            batch.ForEach(w => w.Done.SetResult(done));
        }
    }

    /// <summary>In the trace of the first message; the others' are linked to it.</summary>
    private async Task<bool> TryConsumeAsync(string consumer, List<Waiting> batch)
    {
        Activity.Current = batch[0].Activity;
        ConsumedMessage.Current = new(string.Join(',', batch.Select(w => w.MessageId)), consumer);
        using var activity = batch.Count == 1 ? null : Telemetry.Messaging.StartActivity(
            $"process {consumer}", ActivityKind.Internal, batch[0].Activity?.Context ?? default,
            [new("messaging.batch.message_count", batch.Count)], batch.Where(w => w.Activity is not null).Skip(1).Select(w => new ActivityLink(w.Activity!.Context)));
        try
        {
            await using var scope = scopes.CreateAsyncScope();
            var db = scope.ServiceProvider.GetRequiredService<CrmDbContext>();
            await using var transaction = await db.Database.BeginTransactionAsync();
            var ids = batch.Select(w => w.MessageId).ToArray();
            var fresh = (await db.Database.SqlQuery<Guid>($"""
                INSERT INTO inbox (consumer, message_id) SELECT {consumer}, id FROM unnest({ids}) AS id ORDER BY id
                ON CONFLICT DO NOTHING RETURNING message_id AS "Value"
                """).ToListAsync()).ToHashSet();
            var messages = batch.Where(w => fresh.Remove(w.MessageId)).Select(w => w.Message).ToList();
            InboxMetrics.Duplicates.Add(batch.Count - messages.Count, new KeyValuePair<string, object?>("consumer", consumer));
            if (messages.Count > 0)
            {
                await scope.ServiceProvider.GetRequiredService<IBatchConsumer<TMessage>>().ConsumeAsync(messages, CancellationToken.None);
            }

            await transaction.CommitAsync();
            return true;
        }
        catch (Exception exception)
        {
            // Whoever is at fault among them shows by itself, with the retries of one message.
            LogAlone(batch.Count, consumer, exception.GetType().Name);
            return false;
        }
    }

    [LoggerMessage(LogLevel.Debug, "{Count} messages of {Consumer} are consumed one by one ({Error})")]
    private partial void LogAlone(int count, string consumer, string error);

    private sealed record Waiting(Guid MessageId, TMessage Message, Activity? Activity)
    {
        public TaskCompletionSource<bool> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

internal static class InboxMetrics
{
    public static readonly System.Diagnostics.Metrics.Counter<long> Duplicates =
        Telemetry.Meter.CreateCounter<long>("crm.inbox.duplicates", description: "Messages that had already had their effect");
}
