using System.Text.Json.Nodes;

namespace Contacts.Tests;

/// <summary>Who looks after whom, from when until when.</summary>
public sealed class AccountManagerTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_customer_has_one_account_manager_at_a_time_and_the_past_stays_readable()
    {
        var (customer, jane, joe) = (await NewAsync(), Unique(), Unique());
        await AssignAsync(customer, $$"""{"manager":"{{jane}}","starts_at":"2020-01-01T00:00:00Z"}""");
        await AssignAsync(customer, $$"""{"manager":"{{joe}}","starts_at":"2021-01-01T00:00:00Z"}""");
        Assert.Equal([$"{joe} 2021-01-01T00:00:00Z ", $"{jane} 2020-01-01T00:00:00Z 2021-01-01T00:00:00Z"], await OfCustomerAsync(customer));
        Assert.Equal([customer], await BookAsync($"manager={joe}"));
        Assert.Empty(await BookAsync($"manager={jane}"));
        Assert.Equal([customer], await BookAsync($"manager={jane}&at=2020-12-31T23:59:59Z"));
        Assert.Empty(await BookAsync($"manager={jane}&at=2021-01-01T00:00:00Z"));

        // The same again is nothing new; nobody ends it.
        await AssignAsync(customer, $$"""{"manager":"{{joe}}"}""");
        Assert.Equal(2, (await OfCustomerAsync(customer)).Count);
        var (silent, problem) = await SendAsync(HttpMethod.Put, $"/v1/customers/{customer}/account-manager", "{}");
        AssertProblem(silent, problem, 400, "validation_failed", "/manager");
        Assert.Equal([customer], await BookAsync($"manager={joe}"));
        await AssignAsync(customer, """{"manager":null}""");
        Assert.Empty(await BookAsync($"manager={joe}"));
        var (_, history) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/account-managers");
        Assert.NotNull(history["data"]![0]!["ends_at"]);
    }

    [Fact]
    public async Task Who_was_to_come_is_replaced_before_beginning()
    {
        var (customer, now, later, instead) = (await NewAsync(), Unique(), Unique(), Unique());
        await AssignAsync(customer, $$"""{"manager":"{{now}}","starts_at":"2020-01-01T00:00:00Z"}""");
        await AssignAsync(customer, $$"""{"manager":"{{later}}","starts_at":"2100-01-01T00:00:00Z"}""");
        Assert.Equal([customer], await BookAsync($"manager={now}"));
        Assert.Equal([customer], await BookAsync($"manager={later}&at=2100-01-02T00:00:00Z"));
        await AssignAsync(customer, $$"""{"manager":"{{instead}}","starts_at":"2090-01-01T00:00:00Z"}""");
        Assert.Empty(await BookAsync($"manager={later}&at=2100-01-02T00:00:00Z"));
        Assert.Equal([customer], await BookAsync($"manager={instead}&at=2100-01-02T00:00:00Z"));
        Assert.Equal([customer], await BookAsync($"manager={now}"));
    }

    [Fact]
    public async Task A_book_changes_hands_in_one_step_whole_or_in_part_and_each_change_is_audited()
    {
        var (jane, joe, jim) = (Unique(), Unique(), Unique());
        var customers = new List<string>();
        foreach (var tier in new[] { "vip", "gold", "gold" })
        {
            customers.Add(await NewAsync(tier));
            await AssignAsync(customers[^1], $$"""{"manager":"{{jane}}","starts_at":"2020-01-01T00:00:00Z"}""");
        }

        Assert.Equal(1, await ReassignAsync($$"""{"from":"{{jane}}","to":"{{joe}}","tier":"vip"}"""));
        Assert.Equal([customers[0]], await BookAsync($"manager={joe}"));
        Assert.Equal(2, await ReassignAsync($$"""{"from":"{{jane}}","to":"{{jim}}"}"""));
        Assert.Equal(0, await ReassignAsync($$"""{"from":"{{jane}}","to":"{{jim}}"}"""));
        Assert.Empty(await BookAsync($"manager={jane}"));
        Assert.Equal(3, (await BookAsync($"manager={jane}&at=2020-01-02T00:00:00Z")).Count);
        var (_, first) = await SendAsync(HttpMethod.Get, $"/v1/book-of-business?manager={jim}&limit=1");
        var (_, second) = await SendAsync(HttpMethod.Get, $"/v1/book-of-business?manager={jim}&limit=1&cursor={first["next_cursor"]}");
        Assert.Equal(customers[1..].Order(), new[] { first, second }.Select(p => (string)p["data"]![0]!["customer_id"]!).Order());

        Assert.True(Crm.Contracts.Ids.Customer.TryParse(customers[1], out var id));
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audit = database.CreateCommand("SELECT count(*) FROM audit_entry WHERE record_type = 'account_manager' AND record_id = $1 AND actor NOT LIKE 'svc:%'");
        audit.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
        Assert.Equal(2L, await audit.ExecuteScalarAsync(Ct));
        var (wrong, problem) = await SendAsync(HttpMethod.Post, "/v1/book-of-business/reassign", $$"""{"from":"{{jim}}","to":"{{jim}}"}""");
        AssertProblem(wrong, problem, 400, "validation_failed", "/to");
    }

    [Fact]
    public async Task A_book_that_changes_hands_keeps_to_what_is_scheduled_and_to_what_was()
    {
        var (jane, joe, dora) = (Unique(), Unique(), Unique());
        var (succeeded, awaited, past, cancelled) = (await NewAsync(), await NewAsync(), await NewAsync(), await NewAsync());
        await AssignAsync(succeeded, $$"""{"manager":"{{jane}}","starts_at":"2020-01-01T00:00:00Z"}""");
        await AssignAsync(succeeded, $$"""{"manager":"{{dora}}","starts_at":"2100-01-01T00:00:00Z"}""");
        await AssignAsync(awaited, $$"""{"manager":"{{dora}}","starts_at":"2020-01-01T00:00:00Z"}""");
        await AssignAsync(awaited, $$"""{"manager":"{{jane}}","starts_at":"2100-01-01T00:00:00Z"}""");
        await AssignAsync(past, $$"""{"manager":"{{dora}}","starts_at":"2020-01-01T00:00:00Z"}""");
        await AssignAsync(past, $$"""{"manager":"{{jane}}","starts_at":"2021-01-01T00:00:00Z"}""");
        await AssignAsync(cancelled, $$"""{"manager":"{{jane}}","starts_at":"2100-01-01T00:00:00Z"}""");
        await AssignAsync(cancelled, $$"""{"manager":"{{dora}}","starts_at":"2020-01-01T00:00:00Z"}""");

        // Before she had some of them.
        Assert.Equal(3, await ReassignAsync($$"""{"from":"{{jane}}","to":"{{joe}}","starts_at":"2020-06-01T00:00:00Z"}"""));
        Assert.Equal(
            [$"{joe} 2020-06-01T00:00:00Z 2100-01-01T00:00:00Z", $"{dora} 2100-01-01T00:00:00Z ", $"{jane} 2020-01-01T00:00:00Z 2020-06-01T00:00:00Z"], await OfCustomerAsync(succeeded));
        Assert.Equal(
            [$"{joe} 2100-01-01T00:00:00Z ", $"{jane} 2100-01-01T00:00:00Z 2100-01-01T00:00:00Z", $"{dora} 2020-01-01T00:00:00Z 2100-01-01T00:00:00Z"], await OfCustomerAsync(awaited));
        Assert.Equal(
            [$"{joe} 2021-01-01T00:00:00Z ", $"{jane} 2021-01-01T00:00:00Z 2021-01-01T00:00:00Z", $"{dora} 2020-01-01T00:00:00Z 2021-01-01T00:00:00Z"], await OfCustomerAsync(past));
        Assert.DoesNotContain(await OfCustomerAsync(cancelled), a => a.StartsWith(joe, StringComparison.Ordinal));
        foreach (var (at, joes, doras) in new (string, string[], string[])[]
        {
            ("2020-12-31T00:00:00Z", [succeeded], [awaited, past, cancelled]), ("2022-01-01T00:00:00Z", [succeeded, past], [awaited, cancelled]), ("2100-01-01T00:00:00Z", [awaited, past], [succeeded, cancelled]),
        })
        {
            Assert.Empty(await BookAsync($"manager={jane}&at={at}"));
            Assert.Equal(joes.Order(StringComparer.Ordinal), (await BookAsync($"manager={joe}&at={at}")).Order(StringComparer.Ordinal));
            Assert.Equal(doras.Order(StringComparer.Ordinal), (await BookAsync($"manager={dora}&at={at}")).Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public async Task Of_assignments_while_a_book_changes_hands_one_manager_of_each_customer_holds_at_the_end()
    {
        var (jane, joe, dora) = (Unique(), Unique(), Unique());
        var customers = new List<string>();
        foreach (var _ in Enumerable.Range(0, 10))
        {
            customers.Add(await NewAsync());
            await AssignAsync(customers[^1], $$"""{"manager":"{{jane}}","starts_at":"2020-01-01T00:00:00Z"}""");
        }

        await Task.WhenAll(customers.Select(c => AssignAsync(c, $$"""{"manager":"{{dora}}"}""")).Append(ReassignAsync($$"""{"from":"{{jane}}","to":"{{joe}}"}""")));
        Assert.Empty(await BookAsync($"manager={jane}"));
        foreach (var customer in customers)
        {
            Assert.Single(await OfCustomerAsync(customer), a => a.EndsWith(' '));
        }
    }

    [Fact]
    public async Task Of_two_assignments_at_once_one_holds_at_the_end()
    {
        var (customer, managers) = (await NewAsync(), Enumerable.Range(0, 8).Select(_ => Unique()).ToList());
        await Task.WhenAll(managers.Select(m => AssignAsync(customer, $$"""{"manager":"{{m}}"}""")));
        var books = await Task.WhenAll(managers.Select(m => BookAsync($"manager={m}")));
        Assert.Single(books, b => b.Count == 1);
    }

    private async Task<string> NewAsync(string tier = "standard") =>
        (string)(await CreateAsync($$$"""{"kind":"person","given_name":"Acc","tier":"{{{tier}}}","source":{"type":"enquiry"}}"""))["id"]!;

    private async Task AssignAsync(string customer, string json)
    {
        var (response, body) = await SendAsync(HttpMethod.Put, $"/v1/customers/{customer}/account-manager", json);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
    }

    private async Task<int> ReassignAsync(string json)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, "/v1/book-of-business/reassign", json);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return (int)body["reassigned"]!;
    }

    private async Task<List<string>> OfCustomerAsync(string customer) =>
        [.. (await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}/account-managers")).Body["data"]!.AsArray().Select(a => $"{a!["manager"]} {a["starts_at"]} {a["ends_at"]}")];

    private async Task<List<string>> BookAsync(string query)
    {
        var (response, body) = await SendAsync(HttpMethod.Get, $"/v1/book-of-business?{query}");
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return [.. body["data"]!.AsArray().Select(a => (string)a!["customer_id"]!)];
    }
}
