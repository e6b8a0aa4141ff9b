using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Crm.Testing;

/// <summary>The whole platform as processes, sending one of its signals over OTLP to the test.</summary>
/// <param name="signal">traces, metrics or logs; the others are off.</param>
public abstract class ObservedPlatform(string signal) : PlatformFixture
{
    private static readonly string[] Signals = ["traces", "metrics", "logs"];

    private WebApplication? _collector;

    protected override IReadOnlyDictionary<string, string> Environment
    {
        get
        {
            var environment = new Dictionary<string, string>
            {
                ["OTEL_EXPORTER_OTLP_ENDPOINT"] = _collector!.Urls.First(),
                ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
                ["OTEL_METRIC_EXPORT_INTERVAL"] = "1000",
                ["OTEL_BSP_SCHEDULE_DELAY"] = "300",
                ["OTEL_BLRP_SCHEDULE_DELAY"] = "300",
            };
            foreach (var other in Signals.Where(s => s != signal))
            {
                environment[$"OTEL_{other.ToUpperInvariant()}_EXPORTER"] = "none";
            }

            return environment;
        }
    }

    public override async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _collector = builder.Build();
        _collector.MapPost($"/v1/{signal}", async (HttpRequest request) =>
        {
            using var body = new MemoryStream();
            await request.Body.CopyToAsync(body);
            Receive(body.ToArray());
        });
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

    /// <summary>One export request, as it came.</summary>
    protected abstract void Receive(byte[] body);
}
