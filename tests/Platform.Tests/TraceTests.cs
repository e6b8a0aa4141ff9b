using System.Net.Http.Json;
using Crm.Testing;
using static Platform.Tests.TracedPlatform;

namespace Platform.Tests;

[Collection(TracedPlatform.Collection)]
public sealed class TraceTests(TracedPlatform fixture)
{
    [Fact]
    public async Task One_created_customer_is_one_trace_from_the_partners_call_to_the_last_row()
    {
        var ct = TestContext.Current.CancellationToken;
        using var partner = fixture.Platform.CreateClient();
        var (trace, caller) = (Guid.NewGuid().ToString("n"), Guid.NewGuid().ToString("n")[..16]);
        using var request = new HttpRequestMessage(HttpMethod.Post, "v1/customers") { Content = JsonContent.Create(new { kind = "person", given_name = "Traced", source = new { type = "enquiry" } }) };
        request.Headers.Add("traceparent", $"00-{trace}-{caller}-01");
        using var response = await partner.SendAsync(request, ct);
        Assert.Equal(201, (int)response.StatusCode);
        Assert.Equal(trace, response.Headers.GetValues("Crm-Trace-Id").Single());

        var copies = new[] { "interactions", "campaigns", "billing-sync", "support" };
        var spans = await WaitForAsync(trace, s => copies.All(c => s.Any(x => x.Service == $"crm-{c}" && x.Scope == "Npgsql" && IsUnder(x, s, p => p.Kind == ReceivedSpan.Consumer))), ct);

        var gateway = Assert.Single(spans, s => s.Service == "crm-gateway" && s.Kind == ReceivedSpan.Server && s.ParentId == caller);
        var contacts = Assert.Single(spans, s => s.Service == "crm-contacts" && s.Kind == ReceivedSpan.Server);
        var forwarded = Assert.Single(spans, s => s.SpanId == contacts.ParentId);
        Assert.Equal(("crm-gateway", ReceivedSpan.Client), (forwarded.Service, forwarded.Kind));
        Assert.True(IsUnder(forwarded, spans, p => p.SpanId == gateway.SpanId));
        Assert.Contains(spans, s => s.Service == "crm-contacts" && s.Scope == "Npgsql" && IsUnder(s, spans, p => p.SpanId == contacts.SpanId));

        var create = Assert.Single(spans, s => s.Name == "create crm.contacts.customer-registered.v1");
        Assert.True(IsUnder(create, spans, p => p.SpanId == contacts.SpanId));
        // Several where the broker's confirmation did not come, and it was sent again.
        var sends = spans.Where(s => s.Name == "send crm.contacts.customer-registered.v1").ToList();
        Assert.NotEmpty(sends);
        Assert.All(sends, send => Assert.Equal((create.SpanId, ReceivedSpan.Producer), (send.ParentId, send.Kind)));
        foreach (var copy in copies)
        {
            // Several where a connection broke, after a database that other tests have killed, and it was tried again.
            var processes = spans.Where(s => s.Name == $"process crm.{copy}.customer-copy").ToList();
            Assert.NotEmpty(processes);
            Assert.All(processes, process => Assert.Equal((ReceivedSpan.Consumer, $"crm-{copy}"), (process.Kind, process.Service)));
            Assert.All(processes, process => Assert.Contains(process.ParentId, sends.Select(s => s.SpanId)));
            Assert.Contains(spans, s => s.Service == $"crm-{copy}" && s.Scope == "Npgsql" && IsUnder(s, spans, p => processes.Contains(p)));
        }

        Assert.All(spans, s => Assert.True(s.ParentId == caller || spans.Any(p => p.SpanId == s.ParentId), $"The parent of '{s.Name}' of {s.Service} is not in the trace."));
    }

    [Theory]
    [InlineData("/u/", "crm-campaigns")]
    [InlineData("/u/p/", "crm-campaigns")]
    [InlineData("/u/c/", "crm-campaigns")]
    [InlineData("/v1/customers/by-external-id/", "crm-contacts")]
    public async Task No_span_has_the_token_of_a_link_or_the_id_that_a_partner_gave(string place, string service)
    {
        var ct = TestContext.Current.CancellationToken;
        using var client = service == "crm-campaigns" ? fixture.Platform.CreateClient(null) : fixture.Platform.CreateClient();
        var token = Guid.NewGuid().ToString("n")[..22];
        using var response = await client.GetAsync($"{place}{(service == "crm-contacts" ? "shop/" : "")}{token}", ct);
        Assert.Equal(404, (int)response.StatusCode);

        var spans = await WaitForAsync(
            response.Headers.GetValues("Crm-Trace-Id").Single(), s => s.Any(x => x.Service == service && x.Kind == ReceivedSpan.Server)
                && ((int[])[ReceivedSpan.Client, ReceivedSpan.Server]).All(kind => s.Any(x => x.Service == "crm-gateway" && x.Kind == kind)), ct);
        Assert.Contains(spans, s => s.Service == "crm-gateway" && s.Kind == ReceivedSpan.Client && s.Attributes.Any(a => a.EndsWith($"{place}REDACTED", StringComparison.Ordinal)));
        Assert.All(spans, s => Assert.DoesNotContain(token, $"{s.Name} {string.Join(' ', s.Attributes)}", StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>The trace when all of it has come: parents end after their children, so what is left at last is the one parent of the first span.</summary>
    private Task<IReadOnlyList<ReceivedSpan>> WaitForAsync(string trace, Func<IReadOnlyList<ReceivedSpan>, bool> complete, CancellationToken ct) => Eventually.GetAsync(
        () => Task.FromResult(fixture.SpansOf(trace)),
        spans => complete(spans) && spans.Select(s => s.ParentId).Distinct().Count(parent => spans.All(s => s.SpanId != parent)) == 1,
        ct: ct);

    private static bool IsUnder(ReceivedSpan span, IReadOnlyList<ReceivedSpan> all, Func<ReceivedSpan, bool> ancestor)
    {
        for (var parent = all.FirstOrDefault(s => s.SpanId == span.ParentId); parent is not null; parent = all.FirstOrDefault(s => s.SpanId == parent.ParentId))
        {
            if (ancestor(parent))
            {
                return true;
            }
        }

        return false;
    }
}
