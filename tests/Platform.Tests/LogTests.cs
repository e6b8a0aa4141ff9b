using System.Globalization;
using System.Net;
using System.Text.Json;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using static Platform.Tests.LoggedPlatform;

namespace Platform.Tests;

/// <summary>Logs as they are exported and as they are printed: whose they are, and nothing of whom they are about.</summary>
[Collection(LoggedPlatform.Collection)]
public sealed class LogTests(LoggedPlatform fixture)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_logged_of_a_request_carries_the_trace_id_of_its_answer_and_neither_its_address_nor_the_customer()
    {
        var tag = Tag();
        using var partner = fixture.Platform.CreateClient();
        var created = await partner.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"{{{tag}}}","emails":[{"address":"{{{tag}}}@example.com"}],"source":{"type":"enquiry"}}""", Ct);
        Assert.Equal(HttpStatusCode.Created, created.Status);
        var path = $"v1/customers/{(string)created["id"]!}/overview";
        using var answer = await partner.GetAsync(path, Ct);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Contains(tag, await answer.Content.ReadAsStringAsync(Ct), StringComparison.Ordinal);
        var trace = answer.Headers.GetValues("Crm-Trace-Id").Single();

        // Support, Campaigns and BillingSync do not run.
        var (records, lines) = await LoggedAsync(
            "gateway", r => r.TraceId == trace && r.Service == "crm-gateway", l => Text(l, "trace_id") == trace, all => all.Count >= 3);
        Assert.All(records, r => Assert.Matches("^(?!0{16})[0-9a-f]{16}$", r.SpanId));
        Assert.Contains(records, r => r.Attributes["Service"].Contains("support"));

        Assert.Equal(records.Select(r => r.SpanId).Order(StringComparer.Ordinal), lines.Select(l => Text(l, "span_id")!).Order(StringComparer.Ordinal));
        var line = Assert.Single(lines, l => Text(l, "message")!.StartsWith("The overview is without support: Unavailable", StringComparison.Ordinal));
        Assert.Equal(("warn", "crm-gateway", "LogUnavailable"), (Text(line, "level"), Text(line, "service"), Text(line, "event")));
        Assert.EndsWith(".ReadOverview", Text(line, "category"), StringComparison.Ordinal);
        Assert.Equal(JsonValueKind.Number, line.GetProperty("event_id").ValueKind);
        Assert.NotEmpty(Text(line, "request_id")!);
        Assert.EndsWith("Z", Text(line, "timestamp"), StringComparison.Ordinal);
        Assert.InRange(DateTimeOffset.Parse(Text(line, "timestamp")!, CultureInfo.InvariantCulture), DateTimeOffset.UtcNow.AddMinutes(-2), DateTimeOffset.UtcNow);

        foreach (var secret in (string[])[tag, path, "RequestPath"])
        {
            Assert.DoesNotContain(secret, fixture.Everything, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    public async Task What_is_logged_while_a_message_is_consumed_carries_its_id_and_trace_and_nothing_that_is_in_it()
    {
        var (tag, identity, order) = (Tag(), Guid.CreateVersion7(), Guid.CreateVersion7());
        await using (var bus = await TestBus.StartAsync(fixture.Platform.BusUri, Ct))
        {
            await bus.PublishAsync(new CustomerRegistered(new("no customer id", 1, "person", tag, tag, tag, $"{tag}@example.com", null, null, null, "prospect", "standard", null,
                new Dictionary<string, JsonElement>(), "active", null, DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch)), identity, Ct);
            await bus.PublishAsync(new OrderRecorded("no order id", 1, Ids.Customer.Format(Guid.CreateVersion7()), DateTimeOffset.UnixEpoch, 1, new Money(100, "USD"), "completed"), order, Ct);
        }

        // The first of these does not name the message by itself.
        var (records, lines) = await LoggedAsync(
            "interactions", r => r.MessageId == identity.ToString(), l => Text(l, "message_id") == identity.ToString(),
            all => all.Any(r => r.Attributes["Consumer"].Any()) && all.Any(r => r.Body.Contains("dead-letter list", StringComparison.Ordinal)));
        var alone = Assert.Single(records, r => r.Attributes["Consumer"].Any());
        Assert.Empty(alone.Attributes["MessageId"]);
        Assert.Contains(records, r => r.Body.Contains("dead-letter list", StringComparison.Ordinal));
        Assert.All(records, r => Assert.Equal(("crm-interactions", alone.TraceId, alone.SpanId, Queues.CustomerCopy("interactions")), (r.Service, r.TraceId, r.SpanId, r.Attributes["messaging.destination.name"].Single())));
        Assert.Matches("^(?!0{32})[0-9a-f]{32}$", alone.TraceId);

        Assert.Equal(records.Count, lines.Count);
        Assert.All(lines, l => Assert.Equal((alone.TraceId, alone.SpanId, Queues.CustomerCopy("interactions")), (Text(l, "trace_id"), Text(l, "span_id"), Text(l, "queue"))));

        var toRead = await Eventually.GetAsync(
            () => Task.FromResult(fixture.Records.FirstOrDefault(r => r.MessageId == order.ToString() && r.Service == "crm-contacts" && r.Attributes["Error"].Any())), r => r is not null, Limit, Ct);
        await Eventually.GetAsync(
            () => Task.FromResult(fixture.Printed("contacts").Split('\n').Any(l => l.EndsWith($" trace_id={toRead!.TraceId} span_id={toRead.SpanId} message_id={order}", StringComparison.Ordinal))),
            printed => printed, Limit, Ct);

        Assert.DoesNotContain(tag, fixture.Everything, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task What_work_in_the_background_logs_is_exported_too()
    {
        using var partner = fixture.Platform.CreateClient();
        using var rows = new StringContent($$"""{"kind":"person","external_ids":[{"system":"log","id":"{{Tag()}}"}]}""", System.Text.Encoding.UTF8, "application/x-ndjson");
        using var accepted = await partner.PostAsync("v1/imports", rows, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var id = accepted.Headers.Location!.ToString().Split('/')[^1];
        var finished = await Eventually.GetAsync(
            () => Task.FromResult(fixture.Records.FirstOrDefault(r => r.Category.EndsWith(".ImportWorker", StringComparison.Ordinal) && r.Attributes["Id"].Contains(id))), r => r is not null, Limit, Ct);
        Assert.Equal(("crm-contacts", "completed"), (finished!.Service, finished.Attributes["Status"].Single()));
    }

    private static string Tag() => $"zq{Guid.NewGuid():n}"[..14];

    private static string? Text(JsonElement line, string name) => line.TryGetProperty(name, out var value) ? value.GetString() : null;

    /// <summary>What was exported and what a service has printed of the same, once what must be there is, and all that was printed has come.</summary>
    private Task<(IReadOnlyList<ReceivedRecord> Records, IReadOnlyList<JsonElement> Lines)> LoggedAsync(
        string service, Func<ReceivedRecord, bool> fits, Func<JsonElement, bool> printed, Func<IReadOnlyList<ReceivedRecord>, bool> complete)
    {
        return Eventually.GetAsync(() => Task.FromResult(Now()), both => complete(both.Records) && SpansOf(both.Lines).SequenceEqual(both.Records.Select(r => r.SpanId).Order(StringComparer.Ordinal)), Limit, Ct);

        (IReadOnlyList<ReceivedRecord> Records, IReadOnlyList<JsonElement> Lines) Now() => ([.. fixture.Records.Where(fits)], [.. fixture.Lines(service).Where(printed)]);

        static IEnumerable<string?> SpansOf(IReadOnlyList<JsonElement> lines) => lines.Select(l => Text(l, "span_id")).Order(StringComparer.Ordinal);
    }
}
