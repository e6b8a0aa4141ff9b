using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;

namespace Contacts.Tests;

/// <summary>What orders and people make of a customer's lifecycle, and what its history says.</summary>
public sealed class LifecycleTests(ContactsFixture fixture) : ContactsTest(fixture), IAsyncLifetime
{
    private const int LapseDays = 365;

    private readonly List<Guid> _published = [];
    private TestBus _bus = null!;

    public async ValueTask InitializeAsync() => _bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct);

    public ValueTask DisposeAsync() => _bus.DisposeAsync();

    [Fact]
    public async Task Who_orders_becomes_an_active_buyer_once_and_everybody_hears_of_it()
    {
        var heard = await _bus.ListenAsync<CustomerUpdated>();
        var customer = await NewAsync();
        var order = Order(customer, DateTimeOffset.UtcNow.AddDays(-1));
        var message = Guid.CreateVersion7();
        await _bus.PublishAsync(order, message, Ct);
        var bought = await WaitAsync(customer, "active_buyer");
        Assert.Equal(2, (int)bought["version"]!);

        // Delivered again, told again, and another order: no further step.
        await PublishAsync(order, message);
        await PublishAsync(order);
        await PublishAsync(Order(customer, DateTimeOffset.UtcNow));
        await SettledAsync();
        Assert.Equal(["prospect>active_buyer order", ">prospect created"], await StepsAsync(customer));
        var step = (await HistoryAsync(customer))[0];
        Assert.Equal(("svc:contacts", order.Id, null), ((string?)step["actor"], (string?)step["order_id"], (string?)step["voided_at"]));
        // What is told of one customer comes in order: when this change is heard, everything before it was.
        var (changed, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer}", """{"given_name":"Last"}""", ("If-Match", "*"));
        Assert.True(changed.IsSuccessStatusCode);
        Assert.Equal(3, (int)(await ReadAsync(customer))["version"]!);
        await Eventually.GetAsync(() => Task.FromResult(heard.Count(e => e.Customer.Id == customer && e.Customer.Version == 3)), count => count >= 1, ct: Ct);
        var told = Assert.Single(heard, e => e.Customer.Id == customer && e.Customer.Version != 3);
        Assert.Equal(("active_buyer", "lifecycle", 2), (told.Customer.Lifecycle, Assert.Single(told.Changed), told.Customer.Version));
        var (_, audit) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/history?field=lifecycle");
        Assert.Equal("svc:contacts", (string?)audit["data"]![0]!["actor"]);
    }

    [Fact]
    public async Task A_year_without_an_order_is_a_lapse_and_the_next_order_wins_the_customer_back()
    {
        var said = await NewAsync("active_buyer");
        var (customer, old) = (await NewAsync(), await NewAsync());
        await _bus.PublishAsync(Order(old, DateTimeOffset.UtcNow.AddDays(-LapseDays - 1)), ct: Ct);
        await _bus.PublishAsync(Order(customer, DateTimeOffset.UtcNow.AddDays(-LapseDays + 1)), ct: Ct);
        await WaitAsync(customer, "active_buyer");
        await PlacedEarlierAsync(customer, days: 2);
        await WaitAsync(customer, "lapsed");
        await _bus.PublishAsync(Order(customer, DateTimeOffset.UtcNow), ct: Ct);
        await WaitAsync(customer, "won_back");
        Assert.Equal(["lapsed>won_back order", "active_buyer>lapsed no_order", "prospect>active_buyer order", ">prospect created"], await StepsAsync(customer));

        // Who bought only long ago has lapsed at once; who is said to buy has as long as a buyer.
        await WaitAsync(old, "lapsed");
        Assert.Equal(["prospect>lapsed no_order", ">prospect created"], await StepsAsync(old));
        Assert.Equal([">active_buyer created"], await StepsAsync(said));
    }

    [Fact]
    public async Task A_cancelled_order_takes_its_step_back()
    {
        var customer = await NewAsync("enquiry");
        var order = Order(customer, DateTimeOffset.UtcNow);
        await _bus.PublishAsync(order, ct: Ct);
        await WaitAsync(customer, "active_buyer");
        await _bus.PublishAsync(order with { Version = 2, Status = "cancelled" }, ct: Ct);
        await WaitAsync(customer, "enquiry");
        var steps = await HistoryAsync(customer);
        Assert.Equal([true, false], steps.Select(s => s["voided_at"] is not null));

        // Late and out of order: the version that is older changes nothing.
        await PublishAsync(order);
        await SettledAsync();
        Assert.Equal("enquiry", (string?)(await ReadAsync(customer))["lifecycle"]);
    }

    [Fact]
    public async Task An_order_that_moves_to_another_customer_moves_both()
    {
        var (first, second) = (await NewAsync(), await NewAsync());
        var order = Order(first, DateTimeOffset.UtcNow);
        await _bus.PublishAsync(order, ct: Ct);
        await WaitAsync(first, "active_buyer");
        await _bus.PublishAsync(order with { Version = 2, CustomerId = second, OriginCustomerId = second }, ct: Ct);
        await WaitAsync(second, "active_buyer");
        await WaitAsync(first, "prospect");
    }

    [Fact]
    public async Task What_somebody_says_after_the_last_order_stands_until_the_next_one()
    {
        var customer = await NewAsync();
        var order = Order(customer, DateTimeOffset.UtcNow.AddHours(-1));
        await _bus.PublishAsync(order, ct: Ct);
        await WaitAsync(customer, "active_buyer");
        var (patched, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer}", """{"lifecycle":"former"}""", ("If-Match", "*"));
        Assert.True(patched.IsSuccessStatusCode);
        await PublishAsync(order with { Version = 2 });
        await SettledAsync();
        Assert.Equal("former", (string?)(await ReadAsync(customer))["lifecycle"]);
        Assert.Equal("active_buyer>former edited", (await StepsAsync(customer))[0]);
        Assert.DoesNotContain("svc:", (string?)(await HistoryAsync(customer))[0]["actor"], StringComparison.Ordinal);
        await _bus.PublishAsync(Order(customer, DateTimeOffset.UtcNow), ct: Ct);
        await WaitAsync(customer, "won_back");
    }

    [Fact]
    public async Task The_history_is_paged_and_an_import_has_its_first_step()
    {
        var id = Unique();
        var (accepted, import) = await SendAsync(HttpMethod.Post, "/v1/customers", """{"kind":"person","given_name":"Pages","source":{"type":"former"},"lifecycle":"former"}""");
        Assert.True(accepted.IsSuccessStatusCode, import.ToJsonString());
        var customer = (string)import["id"]!;
        foreach (var state in new[] { "lapsed", "enquiry", "prospect" })
        {
            await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer}", $$"""{"lifecycle":"{{state}}"}""", ("If-Match", "*"));
        }

        var (_, first) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/lifecycle?limit=3");
        var (_, second) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/lifecycle?limit=3&cursor={first["next_cursor"]}");
        Assert.Equal(["prospect", "enquiry", "lapsed", "former"], first["data"]!.AsArray().Concat(second["data"]!.AsArray()).Select(s => (string?)s!["to"]));

        using var content = new StringContent($$"""{"kind":"person","given_name":"Imp","lifecycle":"lapsed","external_ids":[{"system":"lc","id":"{{id}}"}]}""");
        content.Headers.ContentType = new("application/x-ndjson");
        using var posted = await Client.PostAsync("/v1/imports", content, Ct);
        Assert.True(posted.IsSuccessStatusCode);
        var imported = await Eventually.GetAsync(
            async () => (await SendAsync(HttpMethod.Get, $"/v1/customers?external_id=lc:{id}")).Body["data"]!.AsArray(), found => found.Count == 1, ct: Ct);
        Assert.Equal([">lapsed created"], await StepsAsync((string)imported[0]!["id"]!));
    }

    private async Task<string> NewAsync(string lifecycle = "prospect") =>
        (string)(await CreateAsync($$$"""{"kind":"person","given_name":"Life","lifecycle":"{{{lifecycle}}}","source":{"type":"enquiry"}}"""))["id"]!;

    private static OrderRecorded Order(string customer, DateTimeOffset placedAt) =>
        new(Ids.Order.Format(Guid.CreateVersion7()), 1, customer, placedAt, 1, new(1000, "EUR"), "completed", customer);

    private async Task<JsonNode> ReadAsync(string customer) => (await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}")).Body;

    private Task<JsonNode> WaitAsync(string customer, string lifecycle) =>
        Eventually.GetAsync(() => ReadAsync(customer), c => (string?)c["lifecycle"] == lifecycle, TimeSpan.FromMinutes(1), Ct);

    private Task PublishAsync(OrderRecorded order, Guid? message = null)
    {
        var id = message ?? Guid.CreateVersion7();
        _published.Add(id);
        return _bus.PublishAsync(order, id, Ct);
    }

    /// <summary>All that was published by <see cref="PublishAsync"/> has had its effect, which is in one transaction with its row in the inbox.</summary>
    private async Task SettledAsync()
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await Eventually.GetAsync(
            async () =>
            {
                await using var inbox = database.CreateCommand("SELECT count(*) FROM inbox WHERE consumer = 'crm.contacts.orders' AND message_id = ANY ($1)");
                inbox.Parameters.AddWithValue(_published.ToArray());
                return (long)(await inbox.ExecuteScalarAsync(Ct))!;
            },
            count => count == _published.Distinct().Count(), ct: Ct);
    }

    /// <summary>Time passes: the orders that a customer has placed are so much older.</summary>
    private async Task PlacedEarlierAsync(string customer, int days)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var earlier = database.CreateCommand("UPDATE placed_orders SET placed_at = placed_at - make_interval(days => $2) WHERE customer_id = $1");
        earlier.Parameters.AddWithValue(Ids.Customer.Parse(customer));
        earlier.Parameters.AddWithValue(days);
        Assert.Equal(1, await earlier.ExecuteNonQueryAsync(Ct));
    }

    private async Task<List<JsonNode>> HistoryAsync(string customer) =>
        [.. (await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/lifecycle")).Body["data"]!.AsArray().Select(s => s!)];

    private async Task<List<string>> StepsAsync(string customer) => [.. (await HistoryAsync(customer)).Select(s => $"{s["from"]}>{s["to"]} {s["cause"]}")];
}
