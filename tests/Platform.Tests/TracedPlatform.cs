using System.Collections.Concurrent;
using Crm.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Platform.Tests.Otlp;

[assembly: AssemblyFixture(typeof(Platform.Tests.TracedPlatform))]
// Each test has a whole platform of its own: two at once on two cores tell nothing.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Platform.Tests;

/// <summary>The whole platform as processes, sending its traces over OTLP to the test.</summary>
public sealed class TracedPlatform : PlatformFixture
{
    private readonly ConcurrentQueue<ReceivedSpan> _spans = new();
    private WebApplication? _collector;

    /// <summary>A span as it came in, with the service that sent it.</summary>
    public sealed record ReceivedSpan(string Service, string Scope, string TraceId, string SpanId, string ParentId, string Name, int Kind)
    {
        public const int Server = 2;
        public const int Client = 3;
        public const int Producer = 4;
        public const int Consumer = 5;
    }

    public IReadOnlyList<ReceivedSpan> SpansOf(string traceId) => [.. _spans.Where(s => s.TraceId == traceId)];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>
    {
        ["OTEL_EXPORTER_OTLP_ENDPOINT"] = _collector!.Urls.First(),
        ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
        ["OTEL_BSP_SCHEDULE_DELAY"] = "300",
        ["OTEL_METRICS_EXPORTER"] = "none",
        ["OTEL_LOGS_EXPORTER"] = "none",
    };

    public override async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _collector = builder.Build();
        _collector.MapPost("/v1/traces", ReceiveAsync);
        await _collector.StartAsync();
        await base.InitializeAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        if (_collector is not null)
        {
            await _collector.DisposeAsync();
        }

        GC.SuppressFinalize(this);
    }

    private async Task ReceiveAsync(HttpRequest request)
    {
        using var body = new MemoryStream();
        await request.Body.CopyToAsync(body);
        foreach (var resource in ExportTraceServiceRequest.Parser.ParseFrom(body.ToArray()).ResourceSpans)
        {
            var service = resource.Resource.Attributes.FirstOrDefault(a => a.Key == "service.name")?.Value.StringValue ?? "";
            foreach (var scope in resource.ScopeSpans)
            {
                foreach (var span in scope.Spans)
                {
                    _spans.Enqueue(new(service, scope.Scope?.Name ?? "", Hex(span.TraceId), Hex(span.SpanId), Hex(span.ParentSpanId), span.Name, span.Kind));
                }
            }
        }

        static string Hex(Google.Protobuf.ByteString bytes) => Convert.ToHexStringLower(bytes.Span);
    }
}
