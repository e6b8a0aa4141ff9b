using System.Diagnostics;
using System.Text.Json;
using Crm.Contracts.Events;
using Crm.Hosting.Erasure;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;

namespace Crm.Hosting.Messaging;

/// <summary>
/// Messages whose retries are used up, both ways: events that the broker keeps refusing, and messages whose
/// consumer keeps failing or that cannot be read. An operator lists them and asks for a replay; the relay carries it out.
/// </summary>
internal sealed partial class DeadLetters(NpgsqlDataSource dataSource, ILogger<DeadLetters> logger)
{
    /// <summary>With the first try, eight: reliability.md asks for ten at most.</summary>
    public const int Retries = 7;

    private const string Outbox = "outbox";

    /// <summary>A message whose consumer failed at every try.</summary>
    public Task KeepAsync(string queue, ConsumeContext context, Exception exception) =>
        KeepAsync(queue, context.ReceiveContext, context.MessageId, context.SupportedMessageTypes.FirstOrDefault(), Retries + 1, exception);

    /// <summary>A message that no consumer saw: its envelope cannot be read, or nobody here reads its type.</summary>
    public async Task KeepUnreadAsync(string queue, ReceiveContext context, Exception exception)
    {
        if (context.HasPayloadType(typeof(Kept)))
        {
            return;
        }

        var messageId = context.GetMessageId();
        using var activity = ReceiveFilter.StartActivity(queue, messageId?.ToString(), context.TransportHeaders);
        activity.SetStatus(ActivityStatusCode.Error, exception.GetType().Name);
        await KeepAsync(queue, context, messageId, type: null, attempts: 1, exception);
    }

    private async Task KeepAsync(string queue, ReceiveContext context, Guid? messageId, string? type, int attempts, Exception exception)
    {
        var body = Text(System.Text.Encoding.UTF8.GetString(context.Body.GetBytes()));
        var headers = context.TransportHeaders.GetAll()
            .Where(h => h.Value is string)
            .DistinctBy(h => h.Key, StringComparer.Ordinal)
            .ToDictionary(h => h.Key, h => Text((string)h.Value), StringComparer.Ordinal);
        var subject = EventCatalog.All.FirstOrDefault(r => type?.EndsWith(r.Name, StringComparison.Ordinal) is true)?.Subject ?? EventSubject.One;
        // One about somebody who was erased meanwhile is not kept; one about several records without those.
        await using var command = dataSource.CreateCommand("""
            WITH erased AS (SELECT coalesce(array_agg(id), '{}') AS ids FROM erased_record WHERE id = ANY (@names) AND NOT @nobody)
            INSERT INTO dead_letter (id, origin, message_id, type, body, headers, attempts, error)
            SELECT @id, @origin, @message, @type,
                   CASE WHEN ids = '{}' OR NOT @several THEN @body
                       ELSE jsonb_set(@body::jsonb, '{message}', without_erased(@body::jsonb->'message', ids))::text END,
                   @headers, @attempts, @error
            FROM erased WHERE ids = '{}' OR @several
            ON CONFLICT (origin, message_id) DO UPDATE
            SET attempts = dead_letter.attempts + excluded.attempts, error = excluded.error, failed_at = now(), replay_asked_at = NULL
            """);
        command.Parameters.Add(new NpgsqlParameter<Guid>("id", Guid.CreateVersion7()));
        command.Parameters.Add(new NpgsqlParameter<string>("origin", queue));
        command.Parameters.Add(new NpgsqlParameter<Guid>("message", messageId ?? Guid.CreateVersion7()));
        command.Parameters.Add(new NpgsqlParameter<string>("type", type ?? "unknown"));
        command.Parameters.Add(new NpgsqlParameter<string>("body", body));
        command.Parameters.Add(new NpgsqlParameter<string[]>("names", PublicIds.In(body, [])));
        command.Parameters.Add(new NpgsqlParameter<bool>("several", subject == EventSubject.Several));
        command.Parameters.Add(new NpgsqlParameter<bool>("nobody", subject == EventSubject.Nobody));
        command.Parameters.Add(new NpgsqlParameter("headers", NpgsqlDbType.Jsonb) { Value = JsonSerializer.Serialize(headers) });
        command.Parameters.Add(new NpgsqlParameter<int>("attempts", attempts));
        command.Parameters.Add(new NpgsqlParameter<string>("error", Text(Describe(exception))));
        var kept = await command.ExecuteNonQueryAsync(context.CancellationToken) > 0;
        // To MassTransit a message that no consumer finished is one that nobody wanted, and it asks where to put it.
        context.AddOrUpdatePayload(() => new Kept(), before => before);
        if (kept)
        {
            LogKept(messageId, queue, exception.GetType().Name);
        }
        else
        {
            LogOfErased(messageId, queue, exception.GetType().Name);
        }
    }

    /// <summary>PostgreSQL's text has no NUL.</summary>
    private static string Text(string value) => value.Replace('\0', '\uFFFD');

    /// <summary>The same list for an event that the broker refused too often; in the relay's transaction.</summary>
    public static async Task MoveFromOutboxAsync(NpgsqlConnection connection, Guid id, Exception error)
    {
        await using var command = new NpgsqlCommand("""
            WITH moved AS (DELETE FROM outbox WHERE id = @id RETURNING *)
            INSERT INTO dead_letter (id, origin, message_id, type, body, headers, aggregate_id, aggregate_seq, attempts, error)
            SELECT gen_random_uuid(), @origin, id, type, payload::text,
                   jsonb_build_object('traceparent', traceparent, 'tracestate', tracestate, 'baggage', baggage),
                   aggregate_id, aggregate_seq, attempts + 1, @error FROM moved
            """, connection);
        command.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
        command.Parameters.Add(new NpgsqlParameter<string>("origin", Outbox));
        command.Parameters.Add(new NpgsqlParameter<string>("error", Describe(error)));
        await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    /// <summary>
    /// Puts back what an operator asked for: events into the outbox, messages onto their consumer's queue. Like a relay it
    /// needs a partition for that: whoever holds all of them (a backup) knows that nothing is published.
    /// </summary>
    public async Task ReplayAskedAsync(BrokerLink link, CancellationToken ct)
    {
        using var quiet = QuietWork.Begin();
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var asked = new List<(Guid Id, string Origin, Guid MessageId, string Body, string Headers)>();
        await using (var select = new NpgsqlCommand("""
            WITH partition AS MATERIALIZED (SELECT id FROM outbox_partition WHERE id = 0 FOR UPDATE SKIP LOCKED)
            SELECT id, origin, message_id, body, headers::text FROM dead_letter
            WHERE replay_asked_at IS NOT NULL AND EXISTS (SELECT 1 FROM partition) ORDER BY failed_at LIMIT 100 FOR UPDATE OF dead_letter SKIP LOCKED
            """, connection))
        await using (var reader = await select.ExecuteReaderAsync(ct))
        {
            while (await reader.ReadAsync(ct))
            {
                asked.Add((reader.GetGuid(0), reader.GetString(1), reader.GetGuid(2), reader.GetString(3), reader.GetString(4)));
            }
        }

        foreach (var (id, origin, messageId, body, headers) in asked)
        {
            if (origin == Outbox)
            {
                await using var back = new NpgsqlCommand("""
                    INSERT INTO outbox (id, aggregate_id, aggregate_seq, partition, type, payload, traceparent, tracestate, baggage)
                    SELECT message_id, aggregate_id, aggregate_seq, 0, type, body::jsonb,
                           headers->>'traceparent', headers->>'tracestate', headers->>'baggage'
                    FROM dead_letter WHERE id = @id
                    """, connection);
                back.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
                await back.ExecuteNonQueryAsync(ct);
            }
            else
            {
                await SendToQueueAsync(link, origin, messageId, body, headers, ct);
            }

            await using var delete = new NpgsqlCommand("DELETE FROM dead_letter WHERE id = @id", connection);
            delete.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
            await delete.ExecuteNonQueryAsync(ct);
            LogReplayed(messageId, origin);
        }

        await transaction.CommitAsync(ct);
    }

    /// <summary>
    /// The body is a whole envelope: it goes back as it came, to this queue only. The way there is the exchange of the queue's
    /// name, which MassTransit declares and binds for each receive endpoint: the right to write crm.… does not cover the
    /// default exchange, over which everybody would reach every queue.
    /// </summary>
    private static Task SendToQueueAsync(BrokerLink link, string queue, Guid messageId, string body, string headers, CancellationToken ct)
    {
        var properties = new RabbitMQ.Client.BasicProperties
        {
            MessageId = messageId.ToString(),
            ContentType = Envelope.ContentType,
            Headers = JsonSerializer.Deserialize<Dictionary<string, string>>(headers)!.ToDictionary(h => h.Key, h => (object?)h.Value, StringComparer.Ordinal),
        };
        return link.PublishAsync(queue, "", properties, System.Text.Encoding.UTF8.GetBytes(body), mandatory: true, ct);
    }

    /// <summary>The command: <c>--dead-letters list | replay &lt;id&gt; | replay all</c>.</summary>
    public async Task<int> RunCommandAsync(IReadOnlyList<string> arguments, TextWriter output, CancellationToken ct)
    {
        if (arguments is [] or ["list"])
        {
            await using var list = dataSource.CreateCommand("""
                SELECT id, origin, message_id, type, attempts, failed_at, error, replay_asked_at IS NOT NULL FROM dead_letter ORDER BY failed_at LIMIT 1000
                """);
            await using var reader = await list.ExecuteReaderAsync(ct);
            while (await reader.ReadAsync(ct))
            {
                await output.WriteLineAsync(string.Join('\t',
                    reader.GetGuid(0), reader.GetString(1), reader.GetGuid(2), reader.GetString(3), $"{reader.GetInt32(4)} tries",
                    reader.GetFieldValue<DateTimeOffset>(5).ToString("O"), reader.GetString(6), reader.GetBoolean(7) ? "replay asked" : ""));
            }

            return 0;
        }

        if (arguments is ["replay", var which] && (which == "all" || Guid.TryParse(which, out _)))
        {
            await using var ask = dataSource.CreateCommand(
                "UPDATE dead_letter SET replay_asked_at = now() WHERE replay_asked_at IS NULL AND (@id::uuid IS NULL OR id = @id)");
            ask.Parameters.Add(new NpgsqlParameter("id", NpgsqlDbType.Uuid) { Value = which == "all" ? DBNull.Value : Guid.Parse(which) });
            await output.WriteLineAsync($"replay asked for {await ask.ExecuteNonQueryAsync(ct)}");
            return 0;
        }

        await output.WriteLineAsync("usage: --dead-letters list | replay <id> | replay all");
        return 2;
    }

    /// <summary>Type and message only: a stack or a parameter value could carry personal data.</summary>
    private static string Describe(Exception exception)
    {
        var root = exception.GetBaseException();
        return root is PostgresException postgres
            ? $"{nameof(PostgresException)} {postgres.SqlState} {postgres.ConstraintName}: {postgres.MessageText}"
            : $"{root.GetType().Name}: {root.Message}";
    }

    /// <summary>Marks a delivery that is on the list.</summary>
    private sealed class Kept;

    [LoggerMessage(LogLevel.Error, "Message {MessageId} is on the dead-letter list of {Queue} ({Error})")]
    private partial void LogKept(Guid? messageId, string queue, string error);

    [LoggerMessage(LogLevel.Warning, "Message {MessageId} on {Queue} failed ({Error}) and is not kept: it is about a record that was erased")]
    private partial void LogOfErased(Guid? messageId, string queue, string error);

    [LoggerMessage(LogLevel.Information, "Message {MessageId} of {Origin} was put back by an operator")]
    private partial void LogReplayed(Guid messageId, string origin);
}
