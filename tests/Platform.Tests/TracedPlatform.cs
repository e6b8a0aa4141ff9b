using System.Collections.Concurrent;
using Crm.Testing;
using Platform.Tests.Otlp;

// Each test has a whole platform of its own: two at once on two cores tell nothing.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Platform.Tests;

/// <summary>
/// The whole platform as processes, sending its traces over OTLP to the test; for the tests of its collection. Its databases
/// are those of an upgrade that has begun: every table has a column already that this release does not know. It ends with its
/// tests: an idle platform takes from the others what little there is of two cores.
/// </summary>
[CollectionDefinition(Collection)]
public sealed class TracedPlatform() : ObservedPlatform("traces"), ICollectionFixture<TracedPlatform>
{
    public const string Collection = "the running platform";

    private readonly ConcurrentQueue<ReceivedSpan> _spans = new();

    /// <summary>A span as it came in, with the service that sent it.</summary>
    /// <param name="Attributes">Those that are text.</param>
    public sealed record ReceivedSpan(string Service, string Scope, string TraceId, string SpanId, string ParentId, string Name, int Kind, IReadOnlyList<string> Attributes)
    {
        public const int Server = 2;
        public const int Client = 3;
        public const int Producer = 4;
        public const int Consumer = 5;
    }

    public IReadOnlyList<ReceivedSpan> SpansOf(string traceId) => [.. _spans.Where(s => s.TraceId == traceId)];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        foreach (var service in Platform.Services.Keys)
        {
            await Platform.AddColumnsAsync(service, "added_by_the_next_release", CancellationToken.None);
        }
    }

    /// <summary>Rebuilds take many pages, as with many rows.</summary>
    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(base.Environment)
    {
        ["Rebuilds__PageRows"] = "40",
        ["Rebuilds__PauseMilliseconds"] = "0",
    };

    protected override void Receive(byte[] body)
    {
        foreach (var resource in ExportTraceServiceRequest.Parser.ParseFrom(body).ResourceSpans)
        {
            var service = resource.Resource.Attributes.FirstOrDefault(a => a.Key == "service.name")?.Value.StringValue ?? "";
            foreach (var scope in resource.ScopeSpans)
            {
                foreach (var span in scope.Spans)
                {
                    _spans.Enqueue(new(service, scope.Scope?.Name ?? "", Hex(span.TraceId), Hex(span.SpanId), Hex(span.ParentSpanId), span.Name, span.Kind, [.. span.Attributes.Select(a => a.Value.StringValue)]));
                }
            }
        }

        static string Hex(Google.Protobuf.ByteString bytes) => Convert.ToHexStringLower(bytes.Span);
    }
}
