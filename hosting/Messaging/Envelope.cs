using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts.Events;
using MassTransit;
using RabbitMQ.Client;

namespace Crm.Hosting.Messaging;

/// <summary>An outbox row as MassTransit's consumers read it from the bus.</summary>
internal static class Envelope
{
    public const string ContentType = "application/vnd.masstransit+json";

    /// <param name="committedAt">Becomes the sent time, so that a consumer's lag counts from the commit.</param>
    public static (BasicProperties Properties, byte[] Body) Write(
        Guid messageId, EventRoute route, string payload, DateTimeOffset committedAt, string? traceparent, string? tracestate, string? baggage)
    {
        var headers = new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            [TraceHeaders.Traceparent] = traceparent,
            [TraceHeaders.Tracestate] = tracestate,
            [TraceHeaders.Baggage] = baggage,
        }.Where(h => h.Value is not null).ToDictionary(h => h.Key, h => h.Value!, StringComparer.Ordinal);
        var body = new JsonObject
        {
            ["messageId"] = messageId,
            ["conversationId"] = messageId,
            ["messageType"] = new JsonArray(MessageUrn.ForTypeString(route.Type)),
            ["message"] = JsonNode.Parse(payload),
            ["sentTime"] = committedAt.UtcDateTime,
            ["headers"] = JsonSerializer.SerializeToNode(headers),
        };
        var properties = new BasicProperties
        {
            MessageId = messageId.ToString(),
            ContentType = ContentType,
            Headers = headers.ToDictionary(h => h.Key, h => (object?)h.Value, StringComparer.Ordinal),
        };
        return (properties, JsonSerializer.SerializeToUtf8Bytes(body));
    }
}
