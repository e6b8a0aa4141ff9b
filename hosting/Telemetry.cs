using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Crm.Hosting;

/// <summary>
/// Traces, metrics and logs over OTLP, and logs on standard output. Endpoint, protocol, headers, sampling and where it runs come from the standard
/// <c>OTEL_*</c> variables; with no endpoint set nothing is exported.
/// </summary>
public static class Telemetry
{
    /// <summary>Spans of the bus: create, send, process.</summary>
    public static readonly ActivitySource Messaging = new("Crm.Messaging");

    public static readonly Meter Meter = new("Crm");

    /// <summary>Buckets for durations of calls, in seconds: those of OpenTelemetry's conventions for HTTP.</summary>
    internal static readonly InstrumentAdvice<double> Durations = new() { HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] };

    /// <summary>Buckets for how far behind something is, in seconds.</summary>
    internal static readonly InstrumentAdvice<double> Ages = new() { HistogramBucketBoundaries = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600] };

    internal static void AddCrmTelemetry(this IHostApplicationBuilder builder, string service)
    {
        builder.Logging.Configure(o => o.ActivityTrackingOptions =
            ActivityTrackingOptions.TraceId | ActivityTrackingOptions.SpanId);
        builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton<ConsoleFormatter, JsonLogLines>());
        builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton<ConsoleFormatter, TextLogLines>());

        var configuration = builder.Configuration;
        var otel = builder.Services.AddOpenTelemetry()
            .ConfigureResource(r => r.AddService($"crm-{service}", serviceNamespace: "crm"));

        // Spans exist without an exporter too: the trace id is in logs, problems and the outbox.
        otel.WithTracing(t =>
        {
            t.AddSource("Microsoft.AspNetCore", "System.Net.Http", "Npgsql", "Grpc.Net.Client", "Yarp.ReverseProxy", Messaging.Name);
            if (Exports(configuration, "TRACES"))
            {
                t.AddProcessor<AddressRedaction>().AddOtlpExporter();
            }
        });
        if (Exports(configuration, "METRICS"))
        {
            otel.WithMetrics(m => m
                .AddMeter("Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "Microsoft.AspNetCore.RateLimiting",
                    "System.Net.Http", "System.Runtime", "Npgsql", "MassTransit", Meter.Name)
                .AddOtlpExporter());
        }

        if (Exports(configuration, "LOGS"))
        {
            // No scopes: that of a request has its whole path, with what a link or a partner put there.
            var others = builder.Services.ToHashSet();
            otel.WithLogging(l => l.AddProcessor<MessageAttributes>().AddOtlpExporter());
            foreach (var provider in builder.Services.Where(s => s.ServiceType == typeof(ILoggerProvider) && !others.Contains(s)).ToList())
            {
                builder.Services.Remove(provider);
                builder.Services.AddSingleton<ILoggerProvider>(s => new QuietWork.Logs((ILoggerProvider)provider.ImplementationFactory!(s)));
            }
        }
    }

    private static bool Exports(IConfiguration configuration, string signal) =>
        configuration["OTEL_SDK_DISABLED"] is not "true"
        && configuration[$"OTEL_{signal}_EXPORTER"] is not "none"
        && (configuration["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? configuration[$"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"]) is { Length: > 0 };
}
