using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Retention policies with the real services: each says whom it has to do with, and erases who is over.</summary>
public sealed class RetentionTests(TracedPlatform fixture) : PlatformTest(fixture), IAsyncDisposable
{
    private const string Old = "2001-02-03T04:05:06Z";

    /// <summary>No other test's customers are as old.</summary>
    private const int Days = 7000;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>The next test is alone with its old customers and its policy, whatever became of this one.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!Fixture.Platform["contacts"].IsRunning)
        {
            await Fixture.Platform["contacts"].StartAsync();
        }

        await ExecuteAsync("contacts", "UPDATE customers SET updated_at = now() WHERE updated_at < $2 AND $1 IS NOT NULL", [], DateTimeOffset.UtcNow.AddDays(-Days));
        await ExecuteAsync("contacts", "UPDATE retention_policies SET active = false, version = version + 1 WHERE active AND $1 IS NOT NULL AND $2 IS NOT NULL", []);
    }

    [Fact]
    public async Task Who_is_unused_in_all_services_is_erased_in_all_of_them_and_nobody_while_one_is_away()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        var people = new Dictionary<string, string>();
        foreach (var name in (string[])["unused", "spoke", "asks", "owes", "subscribes", "ordered", "absorbed"])
        {
            people[name] = await PersonAsync();
        }

        await SpeakAsync(people["unused"], Old);
        await SpeakAsync(people["spoke"], DateTimeOffset.UtcNow.ToString("O"));
        await CaseAsync(people["unused"], solved: true);
        await CaseAsync(people["asks"], solved: false);
        await OrderAsync(people["unused"], "completed");
        await OrderAsync(people["ordered"], "pending");
        await InvoiceAsync(people["unused"], "paid");
        await InvoiceAsync(people["owes"], "open");
        await OkAsync(Api.CallAsync(HttpMethod.Put, $"v1/customers/{people["subscribes"]}/billing-accounts/shop", """{"subscription":"active"}""", ct: Ct));
        await SpeakAsync(people["absorbed"], Old);
        var merge = (string)(await Api.MergeAsync(people["unused"], people["absorbed"], Ct))["id"]!;
        await Api.WaitForMergeAsync(merge, "completed", Ct);
        // A first order changes the record of its customer.
        await Eventually.GetAsync(() => CountAsync("contacts", "SELECT count(*) FROM placed_orders WHERE customer_id = ANY ($1)", people.Values), orders => orders == 2, Patience, Ct);
        foreach (var (service, table) in (IEnumerable<(string, string)>)[("support", "cases"), ("billing-sync", "billing_accounts"), ("billing-sync", "orders"), ("billing-sync", "invoices")])
        {
            await ExecuteAsync(service, $"UPDATE {table} SET updated_at = $2 WHERE customer_id = ANY ($1)", people.Values);
        }

        await ExecuteAsync("interactions", "UPDATE interactions SET updated_at = $2 WHERE customer_id = ANY ($1) AND started_at < $2 + interval '1 day'", people.Values);
        await AgeAsync(people.Values);

        var policy = await PolicyAsync(admin);
        var preview = await EndAsync(admin, await OkAsync(admin.PostAsync($"v1/retention-policies/{policy["id"]}/runs", "{}", Ct)));
        Assert.Equal(
            new Dictionary<string, string>
            {
                ["unused"] = "due ",
                ["asks"] = "kept open_case",
                ["owes"] = "kept open_invoice",
                ["subscribes"] = "kept active_subscription",
                ["ordered"] = "kept pending_order",
            }.OrderBy(o => o.Key, StringComparer.Ordinal),
            (await OutcomesAsync(admin, preview, people)).OrderBy(o => o.Key, StringComparer.Ordinal));

        await Fixture.Platform["support"].KillAsync();
        JsonNode run;
        try
        {
            policy = await OkAsync(admin.PatchAsync($"v1/retention-policies/{policy["id"]}", """{"active":true}""", $"\"{policy["version"]}\"", Ct));
            run = (await Eventually.GetAsync(
                () => admin.CallAsync($"v1/retention-runs?policy_id={policy["id"]}", Ct), r => r.Data.Count == 2 && r.Data[0]["missing"]!.AsArray().Count > 0, Patience, Ct)).Data[0];
            Assert.Equal(["support"], run["missing"]!.AsArray().Select(m => (string?)m));
            await OkAsync(Api.CallAsync($"v1/customers/{people["unused"]}", Ct));
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        run = await EndAsync(admin, run);
        Assert.Equal((1, 4, 1), ((int)run["erased"]!, (int)run["kept"]!, (int)run["used"]!));
        var erasure = (string)(await admin.CallAsync($"v1/retention-runs/{run["id"]}/results?outcome=erased", Ct)).Data.Single()["erasure_id"]!;
        var done = await Eventually.GetAsync(() => admin.CallAsync($"v1/erasures/{erasure}", Ct), e => (string?)e["status"] == "completed", Patience, Ct);
        Assert.Equal(5, done["receipts"]!.AsArray().Count);
        Assert.Equal(new[] { people["unused"], people["absorbed"] }.Order(StringComparer.Ordinal), done["customer_ids"]!.AsArray().Select(i => (string)i!).Order(StringComparer.Ordinal));
        Assert.Equal("erased", (await Api.CallAsync($"v1/customers/{people["unused"]}", Ct)).Code);
        Assert.Single((await Api.CallAsync($"v1/cases?customer_id={people["asks"]}", Ct)).Data);
    }

    [Fact]
    public async Task A_run_whose_process_is_killed_again_and_again_erases_and_reports_everybody_once()
    {
        const int Customers = 60;
        using var admin = Fixture.Platform.CreateClient("admin");
        var people = new List<string>();
        for (var i = 0; i < Customers; i++)
        {
            people.Add(await PersonAsync());
        }

        // In the order in which the run comes to them.
        people.Sort(StringComparer.Ordinal);
        await AgeAsync(people);
        var policy = await PolicyAsync(admin);
        for (var kills = 0; kills < 3; kills++)
        {
            // The run comes to the customer whom somebody is changing, and no further before it is killed.
            var already = (kills + 1) * 8;
            await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("contacts"));
            await using var connection = await database.OpenConnectionAsync(Ct);
            await using var change = await connection.BeginTransactionAsync(Ct);
            await using var hold = new NpgsqlCommand("SELECT FROM customers WHERE id = $1 FOR UPDATE", connection, change);
            hold.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(people[already]) });
            await hold.ExecuteNonQueryAsync(Ct);
            if (kills == 0)
            {
                policy = await OkAsync(admin.PatchAsync($"v1/retention-policies/{policy["id"]}", """{"active":true}""", $"\"{policy["version"]}\"", Ct));
            }
            else
            {
                await Fixture.Platform["contacts"].StartAsync(ct: Ct);
            }

            await Eventually.GetAsync(() => ErasedAsync(policy), erased => erased >= already, Patience, Ct);
            await Fixture.Platform["contacts"].KillAsync();
            await change.RollbackAsync(Ct);
            // Who took the run is dead: nobody waits a minute for it here.
            await ExecuteAsync("contacts", "UPDATE retention_runs SET next_at = $2 WHERE status = 'running' AND $1 IS NOT NULL", people);
        }

        await Fixture.Platform["contacts"].StartAsync(ct: Ct);
        var run = (await Eventually.GetAsync(() => admin.CallAsync($"v1/retention-runs?policy_id={policy["id"]}", Ct), r => r.Data is [{ } only] && (string?)only["status"] == "completed", Patience, Ct)).Data[0];
        Assert.Equal((Customers, Customers, 0, 0), ((int)run["examined"]!, (int)run["erased"]!, (int)run["kept"]!, (int)run["used"]!));
        var results = (await admin.CallAsync($"v1/retention-runs/{run["id"]}/results?limit=100", Ct)).Data;
        Assert.Equal(people.Order(StringComparer.Ordinal), results.Select(r => (string)r["customer_id"]!).Order(StringComparer.Ordinal));
        foreach (var result in results)
        {
            var erasure = Assert.Single((await admin.CallAsync($"v1/erasures?customer_id={result["customer_id"]}", Ct)).Data);
            Assert.Equal((string?)result["erasure_id"], (string?)erasure["id"]);
        }

        Task<long> ErasedAsync(JsonNode of) =>
            CountAsync("contacts", "SELECT coalesce(sum(erased), 0)::bigint FROM retention_runs WHERE policy_id = ANY ($1)", Ids.RetentionPolicy.Parse((string)of["id"]!));
    }

    private async Task<string> PersonAsync() => (string)(await OkAsync(Api.PostAsync(
        "v1/customers", $$$"""{"kind":"person","given_name":"Unused","family_name":"Byron {{{Guid.NewGuid():n}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> SpeakAsync(string customer, string at) => OkAsync(Api.PostAsync(
        "v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"{{at}}","subject":"A question"}""", Ct));

    private async Task CaseAsync(string customer, bool solved)
    {
        var opened = await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it?"}""", Ct));
        if (solved)
        {
            await OkAsync(Api.PostAsync($"v1/cases/{opened["id"]}/solve", """{"resolution":"Here"}""", Ct));
        }
    }

    private Task<JsonNode> OrderAsync(string customer, string status) => OkAsync(Api.PutAsync($"v1/orders/by-external-id/shop/{Guid.NewGuid():n}",
        $$$"""{"customer_id":"{{{customer}}}","placed_at":"{{{Old}}}","lines":[],"total":{"amount_minor":100,"currency":"USD"},"status":"{{{status}}}"}""", Ct));

    private Task<JsonNode> InvoiceAsync(string customer, string status) => OkAsync(Api.PutAsync($"v1/invoices/by-external-id/shop/{Guid.NewGuid():n}",
        $$$"""{"customer_id":"{{{customer}}}","number":"R-17","issued_at":"{{{Old}}}","total":{"amount_minor":100,"currency":"USD"},"status":"{{{status}}}"}""", Ct));

    private static Task<JsonNode> PolicyAsync(HttpClient admin) => OkAsync(admin.PostAsync(
        "v1/retention-policies", $$"""{"name":"Unused {{Guid.NewGuid():n}}","lifecycles":["prospect","enquiry","active_buyer","lapsed","former","won_back"],"unused_for_days":{{Days}}}""", Ct));

    private static async Task<JsonNode> EndAsync(HttpClient admin, JsonNode run) =>
        (await Eventually.GetAsync(() => admin.CallAsync($"v1/retention-runs/{run["id"]}", Ct), r => (string?)r["status"] == "completed", Patience, Ct)).Body!;

    private static async Task<Dictionary<string, string>> OutcomesAsync(HttpClient admin, JsonNode run, Dictionary<string, string> people)
    {
        var names = people.ToDictionary(p => p.Value, p => p.Key);
        return (await admin.CallAsync($"v1/retention-runs/{run["id"]}/results?limit=100", Ct)).Data
            .ToDictionary(r => names[(string)r["customer_id"]!], r => $"{r["outcome"]} {string.Join(' ', r["reasons"]!.AsArray())}");
    }

    /// <summary>What happened today has brought them events of today; from here on they are as old as what they did.</summary>
    private Task AgeAsync(IEnumerable<string> customers) =>
        ExecuteAsync("contacts", "UPDATE customers SET updated_at = $2 WHERE id = ANY ($1)", customers, DateTimeOffset.UtcNow.AddDays(-8000));

    private Task<long> CountAsync(string service, string sql, IEnumerable<string> customers) => CountAsync(service, sql, [.. customers.Select(c => Ids.Customer.Parse(c))]);

    private async Task<long> CountAsync(string service, string sql, params Guid[] ids)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
#pragma warning disable CA2100 // Constants of this test.
        await using var command = database.CreateCommand(sql);
#pragma warning restore CA2100
        command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = ids });
        return (long)(await command.ExecuteScalarAsync(Ct))!;
    }

    private async Task ExecuteAsync(string service, string sql, IEnumerable<string> customers, DateTimeOffset? at = null)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
#pragma warning disable CA2100 // Constants of this test.
        await using var command = database.CreateCommand(sql);
#pragma warning restore CA2100
        command.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = [.. customers.Select(c => Ids.Customer.Parse(c))] });
        command.Parameters.Add(new NpgsqlParameter<DateTimeOffset> { TypedValue = at ?? DateTimeOffset.Parse(Old, System.Globalization.CultureInfo.InvariantCulture) });
        await command.ExecuteNonQueryAsync(Ct);
    }
}
