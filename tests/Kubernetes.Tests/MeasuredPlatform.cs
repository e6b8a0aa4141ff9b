using System.Collections.Concurrent;
using Crm.Runner;
using Crm.Testing;
using Kubernetes.Tests.Otlp;

namespace Kubernetes.Tests;

/// <summary>The whole platform as processes, sending its metrics over OTLP to the test, with a broker that gives its own; for the tests of its collection.</summary>
[CollectionDefinition(MeasuredPlatform.Collection)]
public sealed class MeasuredPlatform() : ObservedPlatform("metrics"), ICollectionFixture<MeasuredPlatform>
{
    public const string Collection = "the running platform";

    private readonly ConcurrentDictionary<string, ConcurrentDictionary<string, byte>> _series = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Service, string Metric), Point> _gauges = new();

    /// <param name="At">When it came.</param>
    public sealed record Point(double Value, DateTimeOffset At);

    /// <summary>Names as Prometheus has them, with the names of their labels, of all that was received until now.</summary>
    public IReadOnlyDictionary<string, IReadOnlyCollection<string>> Series => _series.ToDictionary(s => s.Key, s => (IReadOnlyCollection<string>)[.. s.Value.Keys], StringComparer.Ordinal);

    /// <summary>What a program sent last of a gauge without labels, whose name is as Prometheus has it; null before the first.</summary>
    public Point? Last(string service, string metric) => _gauges.GetValueOrDefault(($"crm-{service}", metric));

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(base.Environment) { ["support:Shutdown__DrainSeconds"] = "20", ["OTEL_RESOURCE_ATTRIBUTES"] = "k8s.pod.name=pod-1,k8s.node.name=node-1" };

    protected override async Task<IServers> ServersAsync() => new MeasuredServers(await base.ServersAsync());

    protected override void Receive(byte[] body)
    {
        foreach (var resource in ExportMetricsServiceRequest.Parser.ParseFrom(body).ResourceMetrics)
        {
            var service = resource.Resource.Attributes.FirstOrDefault(a => a.Key == "service.name")?.Value.StringValue ?? "";
            foreach (var metric in resource.ScopeMetrics.SelectMany(s => s.Metrics))
            {
                foreach (var point in metric.Gauge?.DataPoints ?? [])
                {
                    var value = point.ValueCase == NumberPoint.ValueOneofCase.AsInt ? point.AsInt : point.AsDouble;
                    _gauges[(service, PrometheusNames.Of(metric).Single())] = new(value, DateTimeOffset.UtcNow);
                }

                var attributes = metric.DataCase switch
                {
                    Metric.DataOneofCase.Sum => metric.Sum.DataPoints.SelectMany(p => p.Attributes),
                    Metric.DataOneofCase.Histogram => metric.Histogram.DataPoints.SelectMany(p => p.Attributes),
                    _ => (metric.Gauge?.DataPoints ?? []).SelectMany(p => p.Attributes),
                };
                var labels = attributes.Concat(resource.Resource.Attributes).Select(a => PrometheusNames.Label(a.Key)).Distinct().ToList();
                foreach (var name in PrometheusNames.Of(metric))
                {
                    var known = _series.GetOrAdd(name, _ => new(StringComparer.Ordinal));
                    foreach (var label in labels)
                    {
                        known.TryAdd(label, 0);
                    }
                }
            }
        }
    }

    private sealed class MeasuredServers(IServers servers) : IServers
    {
        public Task<PostgresServer> StartPostgresAsync(PostgresOptions options, CancellationToken ct = default) => servers.StartPostgresAsync(options, ct);

        public Task<RabbitMqServer> StartRabbitMqAsync(RabbitMqOptions options, CancellationToken ct = default) =>
            servers.StartRabbitMqAsync(options with { MetricsPort = FreePort.Next() }, ct);
    }
}

/// <summary>
/// From OpenTelemetry to Prometheus, as the collector's remote-write exporter does it with metric suffixes on
/// (OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md).
/// </summary>
internal static class PrometheusNames
{
    private static readonly Dictionary<string, string> Units = new(StringComparer.Ordinal) { ["s"] = "seconds", ["ms"] = "milliseconds", ["By"] = "bytes", ["%"] = "percent" };

    public static string Label(string attribute) => attribute.Replace('.', '_');

    public static IEnumerable<string> Of(Metric metric)
    {
        var name = metric.Name.Replace('.', '_');
        // Units in braces say what is counted; they are no part of the name.
        if (Units.TryGetValue(metric.Unit, out var unit) && !name.EndsWith("_" + unit, StringComparison.Ordinal))
        {
            name += "_" + unit;
        }
        else if (metric.Unit == "1" && metric.DataCase == Metric.DataOneofCase.Gauge)
        {
            name += "_ratio";
        }

        return metric.DataCase switch
        {
            Metric.DataOneofCase.Histogram => [$"{name}_bucket", $"{name}_sum", $"{name}_count"],
            Metric.DataOneofCase.Sum when metric.Sum.IsMonotonic => [$"{name}_total"],
            _ => [name],
        };
    }
}
