using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Testing;

namespace Contacts.Tests;

/// <summary>What customers ordered before, while and after somebody looked after them.</summary>
public sealed class ManagerTransactionsTests(ContactsFixture fixture) : ContactsTest(fixture), IAsyncLifetime
{
    private TestBus _bus = null!;

    public async ValueTask InitializeAsync() => _bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct);

    public ValueTask DisposeAsync() => _bus.DisposeAsync();

    [Fact]
    public async Task Orders_are_summed_per_currency_before_while_and_after_an_assignment()
    {
        var (customer, jane, joe) = (await NewAsync(), Unique(), Unique());
        await AssignAsync(customer, jane, "2024-01-01");
        await AssignAsync(customer, joe, "2024-12-31");
        await OrderAsync(customer, "2023-09-01", 1_00);
        await OrderAsync(customer, "2023-12-31", 2_00);
        await OrderAsync(customer, "2023-12-30", 3_00, "EUR");
        await OrderAsync(customer, "2023-12-29", 9_00, status: "cancelled");
        await OrderAsync(customer, "2024-01-01", 4_00);
        await OrderAsync(customer, "2024-06-01", 5_00);
        await OrderAsync(customer, "2024-12-31", 6_00);
        await OrderAsync(customer, "2025-01-10", 7_00);
        await OrderAsync(customer, "2026-01-10", 8_00);
        await TakenAsync(customer, 9);

        var assignments = (await GetAsync($"/v1/customers/{customer}/account-managers"))["data"]!.AsArray();
        var ofJane = await GetAsync($"/v1/customers/{customer}/account-managers/{assignments[1]!["id"]}/transactions");
        Assert.Equal((jane, 90, customer), ((string?)ofJane["manager"], (int)ofJane["days"]!, (string?)ofJane["customer_id"]));
        Assert.Equal(["2: 300 EUR, 200 USD", "1: 400 USD", "2: 900 USD", "2: 1300 USD"], Periods(ofJane));
        var ofJoe = await GetAsync($"/v1/customers/{customer}/account-managers/{assignments[0]!["id"]}/transactions?days=7");
        Assert.Equal(["0: ", "1: 600 USD", "3: 2100 USD", null], Periods(ofJoe));
        var (hidden, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers/{await NewAsync()}/account-managers/{assignments[0]!["id"]}/transactions");
        AssertProblem(hidden, problem, 404, "not_found");
        var (wrong, invalid) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/account-managers/{assignments[0]!["id"]}/transactions?days=0");
        AssertProblem(wrong, invalid, 400, "invalid_parameter", "days");
    }

    [Fact]
    public async Task All_assignments_of_a_manager_are_one_sum_in_which_an_order_counts_once()
    {
        var (first, second, jane, joe) = (await NewAsync(), await NewAsync(), Unique(), Unique());
        await AssignAsync(first, jane, "2024-01-01");
        await AssignAsync(first, joe, "2024-02-01");
        await AssignAsync(first, jane, "2024-03-01");
        await AssignAsync(second, jane, "2024-01-01");
        await OrderAsync(first, "2023-12-15", 1_00);
        await OrderAsync(first, "2024-01-15", 2_00);
        await OrderAsync(first, "2024-02-15", 4_00);
        await OrderAsync(first, "2024-03-15", 8_00);
        await OrderAsync(second, "2024-05-15", 16_00);
        await TakenAsync(first, 4);
        await TakenAsync(second, 1);

        var whole = await GetAsync($"/v1/account-managers/{jane}/transactions");
        Assert.Equal((2, 3), ((int)whole["customers"]!, (int)whole["assignments"]!));
        Assert.Equal(["3: 700 USD", "2: 1000 USD", "3: 2600 USD", "2: 1200 USD"], Periods(whole));
        var part = await GetAsync($"/v1/account-managers/{jane}/transactions?from=2024-03-01T00:00:00Z&to=2024-04-01T00:00:00Z");
        Assert.Equal((2, 2, "1: 800 USD"), ((int)part["customers"]!, (int)part["assignments"]!, Periods(part)[2]));
        Assert.Equal(["0: ", "0: ", "0: ", "0: "], Periods(await GetAsync($"/v1/account-managers/{Unique()}/transactions")));
        var (wrong, problem) = await SendAsync(HttpMethod.Get, $"/v1/account-managers/{jane}/transactions?from=2024-03-01T00:00:00Z&to=2024-03-01T00:00:00Z");
        AssertProblem(wrong, problem, 400, "invalid_parameter", "to");
    }

    [Fact]
    public async Task An_order_from_before_amounts_were_kept_is_counted_said_so_and_filled_when_it_is_told_again()
    {
        var (customer, jane) = (await NewAsync(), Unique());
        await AssignAsync(customer, jane, "2024-01-01");
        var order = await OrderAsync(customer, "2024-01-15", 2_00);
        await TakenAsync(customer, 1);
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var old = database.CreateCommand("UPDATE placed_orders SET total_minor = NULL, currency = NULL WHERE id = $1");
        old.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = Ids.Order.Parse(order.Id) });
        Assert.Equal(1, await old.ExecuteNonQueryAsync(Ct));
        var unknown = await GetAsync($"/v1/account-managers/{jane}/transactions");
        Assert.Equal(("1: ", 1), (Periods(unknown)[2], (int)unknown["during"]!["orders_without_amount"]!));

        await _bus.PublishAsync(order, ct: Ct);
        await Eventually.GetAsync(() => GetAsync($"/v1/account-managers/{jane}/transactions"), t => Periods(t)[2] == "1: 200 USD" && (int)t["during"]!["orders_without_amount"]! == 0, ct: Ct);

        // Whoever may not see money sees that there were orders.
        using var support = Fixture.CreateClient("contacts");
        support.DefaultRequestHeaders.Authorization = new("Bearer", Fixture.Token(new TokenSubject("key_support", [Scopes.BillingRead], ["support"], [])));
        var seen = JsonNode.Parse(await support.GetStringAsync($"/v1/account-managers/{jane}/transactions", Ct))!["during"]!.AsObject();
        Assert.Equal((1, false), ((int)seen["orders"]!, seen.ContainsKey("revenue")));
    }

    [Fact]
    public async Task What_customers_of_a_closed_department_ordered_is_in_no_sum_of_others()
    {
        var (open, closed, jane) = (await NewAsync(), await NewAsync("legal"), Unique());
        foreach (var customer in new[] { open, closed })
        {
            await AssignAsync(customer, jane, "2024-01-01");
            await OrderAsync(customer, "2024-01-15", 2_00);
            await TakenAsync(customer, 1);
        }

        Assert.Equal((2, "2: 400 USD"), await OfAsync("legal"));
        Assert.Equal((1, "1: 200 USD"), await OfAsync("sales"));

        async Task<(int Customers, string? During)> OfAsync(string department)
        {
            using var caller = As(new($"key_{department}", Scopes.All, [], [department]));
            var sums = await GetAsync(caller, $"/v1/account-managers/{jane}/transactions");
            return ((int)sums["customers"]!, Periods(sums)[2]);
        }
    }

    private async Task<string> NewAsync(string department = "sales") =>
        (string)(await CreateAsync($$$"""{"kind":"person","given_name":"Trans","department":"{{{department}}}","source":{"type":"enquiry"}}"""))["id"]!;

    private async Task AssignAsync(string customer, string manager, string day)
    {
        var (response, body) = await SendAsync(HttpMethod.Put, $"/v1/customers/{customer}/account-manager", $$"""{"manager":"{{manager}}","starts_at":"{{day}}T00:00:00Z"}""");
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
    }

    private async Task<OrderRecorded> OrderAsync(string customer, string day, long minor, string currency = "USD", string status = "completed")
    {
        var order = new OrderRecorded(
            Ids.Order.Format(Guid.CreateVersion7()), 1, customer, DateTimeOffset.Parse($"{day}T00:00:00Z", System.Globalization.CultureInfo.InvariantCulture), 1, new(minor, currency), status, customer);
        await _bus.PublishAsync(order, ct: Ct);
        return order;
    }

    private async Task TakenAsync(string customer, long orders)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await Eventually.GetAsync(
            async () =>
            {
                await using var count = database.CreateCommand("SELECT count(*) FROM placed_orders WHERE customer_id = $1");
                count.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(customer) });
                return (long)(await count.ExecuteScalarAsync(Ct))!;
            },
            count => count == orders, ct: Ct);
    }

    private async Task<JsonNode> GetAsync(string path)
    {
        var (response, body) = await SendAsync(HttpMethod.Get, path);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }

    private static List<string?> Periods(JsonNode answer) => [.. ((string[])["before", "first", "during", "after"]).Select(p => answer[p] is { } sums
        ? $"{sums["orders"]}: {string.Join(", ", sums["revenue"]!.AsArray().Select(r => $"{r!["amount_minor"]} {r["currency"]}"))}" : null)];
}
