using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using Npgsql;

namespace Interactions.Tests;

public sealed class TimelineTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private static readonly DateTimeOffset Day = InteractionsFixture.FilledFrom;
    private readonly HttpClient _api = fixture.Api;

    [Fact]
    public async Task What_happened_in_every_service_is_on_one_timeline_newest_first()
    {
        var customer = await fixture.CustomerAsync();
        Assert.Equal(HttpStatusCode.Created, (await _api.PostAsync("/v1/interactions",
            $$"""{"customer_id":"{{customer}}","channel":"email","direction":"outbound","started_at":"2026-03-03T00:00:00Z","subject":"Your question"}""", Ct)).Status);
        var order = New(Ids.Order);
        await fixture.Bus.PublishAsync(new OrderRecorded(order, 1, customer, Day, 2, new Money(2390, "USD"), "completed"), ct: Ct);
        await fixture.Bus.PublishAsync(new InvoiceRecorded(New(Ids.Invoice), 1, customer, order, "R-17", Day.AddHours(1), null, new Money(2390, "USD"), "open"), ct: Ct);
        await fixture.Bus.PublishAsync(new PaymentRecorded(New(Ids.Payment), 1, customer, null, Day.AddDays(1), new Money(2390, "USD"), "card", "succeeded"), ct: Ct);
        await fixture.Bus.PublishAsync(new CaseChanged(New(Ids.Case), 3, customer, "complaint", "Broken", "high", "returns", "waiting", "replied", Day.AddDays(3), null), ct: Ct);
        await fixture.Bus.PublishAsync(new MessageSent(New(Ids.Message), New(Ids.Campaign), "Come back", customer, "email", "We miss you", Day.AddDays(4)), ct: Ct);

        var entries = await TimelineAsync(customer, until: 6);
        Assert.Equal(
            [
                "message campaigns email, Come back: We miss you",
                "case support complaint, waiting: Broken",
                "interaction interactions email, outbound: Your question",
                "payment billing-sync 23.90 USD, card",
                "invoice billing-sync R-17, 23.90 USD, open",
                "order billing-sync 2 items, 23.90 USD",
            ],
            entries.Select(e => $"{e["type"]} {e["service"]} {e["summary"]}"));
        Assert.Equal(order, (string?)entries[^1]["id"]);
        Assert.Equal(Day, (DateTimeOffset)entries[^1]["at"]!);
    }

    [Theory]
    [InlineData(2390, "USD", "2", "completed", "2 items, 23.90 USD")]
    [InlineData(1, "EUR", "1", "completed", "1 item, 0.01 EUR")]
    [InlineData(2390, "JPY", "3", "completed", "3 items, 2390 JPY")]
    [InlineData(2390, "KWD", "1.5", "completed", "1.5 items, 2.390 KWD")]
    [InlineData(12345, "CLF", "0", "completed", "1.2345 CLF")]
    [InlineData(-500, "GBP", "1.000", "returned", "1 item, -5.00 GBP, returned")]
    [InlineData(long.MaxValue, "USD", "1", "pending", "1 item, 92233720368547758.07 USD, pending")]
    public async Task An_order_is_told_in_the_minor_units_of_its_currency(long amount, string currency, string quantity, string status, string summary)
    {
        var customer = await fixture.CustomerAsync();
        await fixture.Bus.PublishAsync(
            new OrderRecorded(New(Ids.Order), 1, customer, Day, decimal.Parse(quantity, CultureInfo.InvariantCulture), new Money(amount, currency), status), ct: Ct);
        Assert.Equal(summary, (string?)Assert.Single(await TimelineAsync(customer, until: 1))["summary"]);
    }

    [Fact]
    public async Task Late_repeated_and_shuffled_events_end_in_the_latest_state()
    {
        var customers = new[] { await fixture.CustomerAsync(), await fixture.CustomerAsync() };
        const int Versions = 8;
        var orders = Enumerable.Range(0, 12).Select(_ => New(Ids.Order)).ToList();
        var cases = Enumerable.Range(0, 12).Select(_ => New(Ids.Case)).ToList();
        var events = new List<(object Event, Guid MessageId)>();
        for (var version = 1; version <= Versions; version++)
        {
            // An order may turn out to be somebody else's; its last version is the second customer's.
            events.AddRange(orders.Select(o => ((object)new OrderRecorded(o, version, customers[(version + 1) % 2], Day.AddMinutes(version), version, new Money(version * 100, "USD"), "completed"), Guid.NewGuid())));
            events.AddRange(cases.Select(c => ((object)new CaseChanged(c, version, customers[1], "question", $"v{version}", "normal", "general", "open", "changed", Day, null), Guid.NewGuid())));
        }

        var deliveries = events.Concat(events).Concat(events).ToArray();
        new Random(4711).Shuffle(deliveries);
        await Task.WhenAll(deliveries.Select(d => d.Event switch
        {
            OrderRecorded order => fixture.Bus.PublishAsync(order, d.MessageId, Ct),
            CaseChanged change => fixture.Bus.PublishAsync(change, d.MessageId, Ct),
            _ => Task.CompletedTask,
        }));
        await fixture.InboxHoldsAsync(events.Select(e => e.MessageId));

        Assert.Empty((await _api.CallAsync($"/v1/customers/{customers[0]}/timeline?limit=100", Ct)).Data);
        var entries = (await _api.CallAsync($"/v1/customers/{customers[1]}/timeline?limit=100", Ct)).Data;
        Assert.Equal(24, entries.Count);
        Assert.All(entries, e => Assert.Equal((string?)e["type"] == "order" ? "8 items, 8.00 USD" : "question, open: v8", (string?)e["summary"]));
    }

    [Fact]
    public async Task An_event_that_arrives_before_its_customer_is_there_when_the_customer_is()
    {
        var known = await fixture.CustomerAsync();
        Assert.True(Ids.Customer.TryParse(known, out var id));
        await using (var forget = fixture.Database.CreateCommand("DELETE FROM customers WHERE id = $1"))
        {
            forget.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
            Assert.Equal(1, await forget.ExecuteNonQueryAsync(Ct));
        }

        await fixture.Bus.PublishAsync(new OrderRecorded(New(Ids.Order), 1, known, Day, 1, new Money(100, "USD"), "completed"), ct: Ct);
        Assert.Single(await TimelineAsync(known, until: 1));
    }

    [Fact]
    public async Task Pages_show_each_entry_once_also_where_many_have_the_same_time()
    {
        var (customer, id) = await fixture.FilledAsync(500, "interval '1 minute' * (n / 50)");
        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var page = await _api.CallAsync($"/v1/customers/{customer}/timeline?limit=37{(cursor is null ? "" : $"&cursor={cursor}")}", Ct);
            seen.AddRange(page.Data.Select(e => (string)e["id"]!));
            cursor = (string?)page["next_cursor"];
            Assert.Equal(cursor is not null, (bool)page["has_more"]!);
            // What is added meanwhile, newer and older, moves nothing.
            await fixture.AddAsync(id, 5, "interval '1 hour' * n - interval '3 hours'");
        }
        while (cursor is not null);

        Assert.Equal(seen.Count, seen.Distinct(StringComparer.Ordinal).Count());
        Assert.True(seen.Count >= 500);
    }

    [Fact]
    public async Task The_timeline_is_filtered_by_type_and_time()
    {
        var (customer, _) = await fixture.FilledAsync(60, "interval '1 hour' * n");
        Assert.Equal(10, (await _api.CallAsync($"/v1/customers/{customer}/timeline?type=case&limit=100", Ct)).Data.Count);
        var two = (await _api.CallAsync($"/v1/customers/{customer}/timeline?type=message,order&limit=100", Ct)).Data;
        Assert.Equal(20, two.Count);
        Assert.Equal(["message", "order"], two.Select(e => (string)e["type"]!).Distinct().Order(StringComparer.Ordinal));
        Assert.Equal(two.OrderByDescending(e => (DateTimeOffset)e["at"]!).Select(e => (string?)e["id"]), two.Select(e => (string?)e["id"]));
        var range = (await _api.CallAsync($"/v1/customers/{customer}/timeline?at[gte]=2026-03-01T05:00:00Z&at[lt]=2026-03-01T10:00:00%2B00:00&limit=100", Ct)).Data;
        Assert.Equal(5, range.Count);

        var paged = new List<string>();
        string? cursor = null;
        do
        {
            var page = await _api.CallAsync($"/v1/customers/{customer}/timeline?type=message,order&limit=7{(cursor is null ? "" : $"&cursor={cursor}")}", Ct);
            paged.AddRange(page.Data.Select(e => (string)e["id"]!));
            cursor = (string?)page["next_cursor"];
        }
        while (cursor is not null);

        Assert.Equal(two.Select(e => (string)e["id"]!), paged);
    }

    [Theory]
    [InlineData("type=parcel", "invalid_parameter")]
    [InlineData("type=order,", "invalid_parameter")]
    [InlineData("at[gte]=noon", "invalid_parameter")]
    [InlineData("cursor=AAAA", "invalid_parameter")]
    [InlineData("cursor=________________________________", "invalid_parameter")]
    [InlineData("limit=0", "invalid_parameter")]
    [InlineData("order=asc", "unknown_parameter")]
    public async Task A_query_that_cannot_be_answered_is_refused(string query, string code)
    {
        var customer = await fixture.CustomerAsync();
        Assert.Equal((HttpStatusCode.BadRequest, code), await StatusAsync($"/v1/customers/{customer}/timeline?{query}"));
    }

    [Fact]
    public async Task The_timeline_of_nobody_is_not_found_and_of_somebody_new_is_empty()
    {
        Assert.Equal((HttpStatusCode.NotFound, "not_found"), await StatusAsync($"/v1/customers/{New(Ids.Customer)}/timeline"));
        Assert.Equal((HttpStatusCode.NotFound, "not_found"), await StatusAsync("/v1/customers/4711/timeline"));
        var page = await _api.CallAsync($"/v1/customers/{await fixture.CustomerAsync()}/timeline", Ct);
        Assert.Equal("""{"data":[],"has_more":false,"next_cursor":null}""", page.Body!.ToJsonString());
    }

    [Fact]
    public async Task What_happened_to_one_who_was_parted_from_an_erased_customer_is_kept_although_the_erasure_is_heard_of_first()
    {
        var (absorbed, between, survivor) = (New(Ids.Customer), New(Ids.Customer), New(Ids.Customer));
        Guid[] messages = [.. Enumerable.Range(0, 6).Select(_ => Guid.CreateVersion7())];
        await fixture.Bus.PublishAsync(new CustomersMerged(New(Ids.Merge), between, [absorbed], [Snapshot(absorbed, 2, "merged", between), Snapshot(between, 2, "active")], Day), messages[0], Ct);
        await fixture.Bus.PublishAsync(new CustomersMerged(New(Ids.Merge), survivor, [between], [Snapshot(between, 3, "merged", survivor), Snapshot(survivor, 2, "active")], Day), messages[1], Ct);
        await fixture.InboxHoldsAsync(messages[..2]);
        await fixture.Bus.PublishAsync(new CustomersErased(New(Ids.Erasure), survivor, [Snapshot(survivor, 4, "erased")], Day, Day), messages[2], Ct);
        await fixture.InboxHoldsAsync(messages[..3]);
        await fixture.Bus.PublishAsync(new OrderRecorded(New(Ids.Order), 1, absorbed, Day, 1, new Money(100, "USD"), "completed"), messages[3], Ct);
        await fixture.Bus.PublishAsync(new OrderRecorded(New(Ids.Order), 1, survivor, Day, 1, new Money(100, "USD"), "completed"), messages[4], Ct);
        await fixture.InboxHoldsAsync(messages[..5]);
        await fixture.Bus.PublishAsync(
            new MergeUndone(New(Ids.Merge), survivor, [between], [Snapshot(between, 4, "active"), Snapshot(survivor, 3, "active")], [new(survivor, Day)], Day), messages[5], Ct);
        await fixture.InboxHoldsAsync(messages);

        Assert.Equal("order", (string?)Assert.Single(await TimelineAsync(between, until: 1))["type"]);
        Assert.Equal(HttpStatusCode.PermanentRedirect, (await StatusAsync($"/v1/customers/{absorbed}/timeline")).Item1);
        Assert.Equal(HttpStatusCode.Gone, (await StatusAsync($"/v1/customers/{survivor}/timeline")).Item1);
        await using var kept = fixture.Database.CreateCommand("SELECT count(*) FROM timeline WHERE customer_id = $1");
        kept.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(survivor) });
        Assert.Equal(0L, await kept.ExecuteScalarAsync(Ct));
    }

    private static CustomerSnapshot Snapshot(string id, long version, string state, string? survivor = null) => new(
        id, version, "person", "Ada", "Ada", null, null, null, null, null, "prospect", "standard", null, new Dictionary<string, System.Text.Json.JsonElement>(), state, survivor, Day, Day);

    private static string New(IdKind kind) => kind.Format(Guid.CreateVersion7());

    private async Task<(HttpStatusCode, string?)> StatusAsync(string path)
    {
        var answer = await _api.CallAsync(path, Ct);
        return (answer.Status, answer.Code);
    }

    private async Task<IReadOnlyList<JsonNode>> TimelineAsync(string customer, int until) =>
        (await Eventually.GetAsync(() => _api.CallAsync($"/v1/customers/{customer}/timeline", Ct), page => page.Data.Count >= until, ct: Ct)).Data;
}
