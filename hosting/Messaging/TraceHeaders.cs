using System.Diagnostics;

namespace Crm.Hosting;

/// <summary>W3C trace context and baggage as they travel with a message.</summary>
internal static class TraceHeaders
{
    public const string Traceparent = "traceparent";
    public const string Tracestate = "tracestate";
    public const string Baggage = "baggage";

    private static readonly DistributedContextPropagator Propagator = DistributedContextPropagator.CreateW3CPropagator();

    public static string? FormatBaggage(Activity? activity)
    {
        string? baggage = null;
        Propagator.Inject(activity, null, (_, name, value) =>
        {
            if (string.Equals(name, Baggage, StringComparison.OrdinalIgnoreCase))
            {
                baggage = value;
            }
        });
        return baggage;
    }

    /// <summary>
    /// Starts a span as the child of the stored context. When nobody listens the activity is created all
    /// the same, so that the trace id goes on to logs and to what is published next.
    /// </summary>
    public static Activity Start(string name, ActivityKind kind, string? traceparent, string? tracestate, string? baggage)
    {
        _ = ActivityContext.TryParse(traceparent, tracestate, isRemote: true, out var parent);
        var activity = Telemetry.Messaging.StartActivity(name, kind, parent);
        if (activity is null)
        {
            activity = new Activity(name);
            if (traceparent is not null)
            {
                activity.SetParentId(traceparent);
                activity.TraceStateString = tracestate;
            }

            activity.Start();
        }

        foreach (var (key, value) in ParseBaggage(baggage))
        {
            activity.SetBaggage(key, value);
        }

        return activity;
    }

    private static IEnumerable<KeyValuePair<string, string?>> ParseBaggage(string? baggage) => baggage is null
        ? []
        : Propagator.ExtractBaggage(baggage, static (object? carrier, string name, out string? value, out IEnumerable<string>? values) =>
        {
            values = null;
            value = string.Equals(name, Baggage, StringComparison.OrdinalIgnoreCase) ? (string?)carrier : null;
        }) ?? [];
}
