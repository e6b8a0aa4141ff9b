using System.Diagnostics;
using System.Diagnostics.Metrics;
using MassTransit;

namespace Crm.Hosting.Messaging;

/// <summary>
/// The outermost step of every queue: continues the publisher's trace, and puts a message whose retries
/// are used up on the dead-letter list, so that it stops nobody else.
/// </summary>
internal sealed class ReceiveFilter(string queue, DeadLetters deadLetters, TimeProvider clock) : IFilter<ConsumeContext>
{
    private static readonly Histogram<double> Lag =
        Telemetry.Meter.CreateHistogram<double>("crm.consumer.lag", "s", "Age of an event when its consumer starts", tags: null, Telemetry.Ages);

    private static readonly Histogram<double> Duration =
        Telemetry.Meter.CreateHistogram<double>("messaging.process.duration", "s", "Duration of a consumer's work on one event, its retries included", tags: null, Telemetry.Durations);

    public static string QueueOf(ReceiveContext context) => context.InputAddress.AbsolutePath[(context.InputAddress.AbsolutePath.LastIndexOf('/') + 1)..];

    /// <summary>The span of one message, in its publisher's trace.</summary>
    public static Activity StartActivity(string queue, string? messageId, Headers headers) =>
        TraceHeaders.Start(
            $"process {queue}",
            ActivityKind.Consumer,
            headers.Get<string>(TraceHeaders.Traceparent),
            headers.Get<string>(TraceHeaders.Tracestate),
            headers.Get<string>(TraceHeaders.Baggage))
            .SetTag("messaging.system", "rabbitmq")
            .SetTag("messaging.operation.name", "process")
            .SetTag("messaging.operation.type", "process")
            .SetTag("messaging.destination.name", queue)
            .SetTag("messaging.message.id", messageId);

    public async Task Send(ConsumeContext context, IPipe<ConsumeContext> next)
    {
        var messageId = context.MessageId?.ToString();
        using var activity = StartActivity(queue, messageId, context.Headers);
        ConsumedMessage.Current = new(messageId, queue);
        if (context.SentTime is { } sent)
        {
            Lag.Record(Math.Max(0, (clock.GetUtcNow().UtcDateTime - sent).TotalSeconds), new KeyValuePair<string, object?>("queue", queue));
        }

        var start = clock.GetTimestamp();
        string? error = null;
        try
        {
            await next.Send(context);
        }
        catch (Exception exception) when (!context.CancellationToken.IsCancellationRequested && !Transient.Is(exception))
        {
            error = exception.GetType().Name;
            activity.SetStatus(ActivityStatusCode.Error, error);
            await deadLetters.KeepAsync(queue, context, exception);
        }
        finally
        {
            var tags = new TagList { { "messaging.system", "rabbitmq" }, { "messaging.operation.name", "process" }, { "messaging.destination.name", queue } };
            if (error is not null)
            {
                tags.Add("error.type", error);
            }

            Duration.Record(clock.GetElapsedTime(start).TotalSeconds, tags);
        }
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("receive");
}
