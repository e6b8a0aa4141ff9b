using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using Crm.Testing;
using Platform.Tests.Otlp;

namespace Platform.Tests;

/// <summary>
/// Gateway, Contacts and Interactions as processes, sending their logs over OTLP to the test. What they print is JSON, as in a
/// cluster; that of Contacts is for reading, as after ./crm up.
/// </summary>
[CollectionDefinition(Collection)]
public sealed class LoggedPlatform() : ObservedPlatform("logs"), ICollectionFixture<LoggedPlatform>
{
    public const string Collection = "a platform that logs";

    private readonly ConcurrentQueue<(string Text, IReadOnlyList<ReceivedRecord> Records)> _exports = new();

    /// <summary>A log record as it came in, with the service that sent it.</summary>
    public sealed record ReceivedRecord(string Service, string Category, string TraceId, string SpanId, string Body, ILookup<string, string> Attributes)
    {
        public string? MessageId => Attributes["messaging.message.id"].SingleOrDefault();
    }

    public IReadOnlyList<ReceivedRecord> Records => [.. _exports.SelectMany(e => e.Records)];

    /// <summary>All that left the processes as logs: export requests, whose texts stand in them as they are, and what was printed.</summary>
    public string Everything => string.Join('\n', _exports.Select(e => e.Text).Concat(Platform.Services.Values.Select(s => Printed(s.Name))));

    protected override IReadOnlyCollection<string> Only => ["gateway", "contacts", "interactions"];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(base.Environment)
    {
        ["Logging__LogLevel__Crm"] = "Debug",
        ["contacts:Logging__Console__FormatterName"] = "crm-text",
    };

    public string Printed(string service)
    {
        using var reader = new StreamReader(new FileStream(Platform[service].LogFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        return reader.ReadToEnd();
    }

    /// <summary>What a service has printed, each line of it an object; the last one may still be under way.</summary>
    public IReadOnlyList<JsonElement> Lines(string service) =>
        [.. Printed(service).Split('\n')[..^1].Where(line => line.Length > 0).Select(line => JsonElement.Parse(line))];

    protected override void Receive(byte[] body)
    {
        var records = new List<ReceivedRecord>();
        foreach (var resource in ExportLogsServiceRequest.Parser.ParseFrom(body).ResourceLogs)
        {
            var service = resource.Resource.Attributes.FirstOrDefault(a => a.Key == "service.name")?.Value.StringValue ?? "";
            records.AddRange(resource.ScopeLogs.SelectMany(scope => scope.LogRecords.Select(r => new ReceivedRecord(
                service, scope.Scope?.Name ?? "", Convert.ToHexStringLower(r.TraceId.Span), Convert.ToHexStringLower(r.SpanId.Span), r.Body?.StringValue ?? "",
                r.Attributes.ToLookup(a => a.Key, a => a.Value.StringValue, StringComparer.Ordinal)))));
        }

        _exports.Enqueue((Encoding.UTF8.GetString(body), records));
    }
}
