using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Projections built anew of their owners' rows, through the public door, while everybody goes on.</summary>
public sealed class RebuildTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private const string Timeline = "interactions.timeline";
    private const string Entries = "SELECT count(*) FROM timeline WHERE customer_id = $1 OR origin_customer_id = $1";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task Entries_that_were_lost_or_spoilt_are_there_again_and_those_of_nothing_are_gone()
    {
        var customer = await PersonAsync();
        await FillAsync(customer);
        var before = await EntriesAsync(customer, until: 5);
        var id = Key(customer);
        await ExecuteAsync("interactions", "DELETE FROM timeline WHERE customer_id = $1 AND type IN ('order', 'interaction')", id);
        await ExecuteAsync("interactions", "UPDATE timeline SET summary = 'spoilt', at = now() WHERE customer_id = $1 AND type = 'invoice'", id);
        await ExecuteAsync("interactions", "UPDATE timeline SET version = version - 1, summary = 'old' WHERE customer_id = $1 AND type = 'payment'", id);
        await ExecuteAsync("interactions", "UPDATE timeline SET customer_id = gen_random_uuid() WHERE customer_id = $1 AND type = 'case'", id);
        await ExecuteAsync("interactions", "INSERT INTO timeline (type, id, customer_id, origin_customer_id, at, summary, version) VALUES ('order', gen_random_uuid(), $1, $1, now(), 'stray', 7)", id);

        var rebuild = await RebuildAsync(Timeline);

        Assert.Equal(before, await EntriesAsync(customer, until: 5));
        Assert.True((long)rebuild["repaired"]! >= 5 && (long)rebuild["removed"]! >= 1, rebuild.ToJsonString());
        Assert.Equal(
            ["interactions.interactions", "billing-sync.orders", "billing-sync.invoices", "billing-sync.payments", "support.cases", "campaigns.messages"],
            rebuild["sources"]!.AsArray().Select(s => (string?)s!["source"]));
        Assert.All(rebuild["sources"]!.AsArray(), s => Assert.NotNull(s!["finished_at"]));
        Assert.All(rebuild["sources"]!.AsArray().Take(5), s => Assert.True((long)s!["rows"]! > 0, s.ToJsonString()));
        Assert.NotNull(rebuild["finished_at"]);

        await LeavesAloneAsync(Timeline);
        Assert.Equal(before, await EntriesAsync(customer, until: 5));
    }

    [Fact]
    public async Task The_entry_of_a_message_keeps_its_words_and_one_that_was_lost_gets_them_anew_and_may_be_read_by_the_same()
    {
        var batch = Guid.NewGuid().ToString("n");
        var customer = (string)(await OkAsync(Api.PostAsync("v1/customers", $$$"""
            {"kind":"person","given_name":"Ada","family_name":"Byron {{{batch}}}","emails":[{"address":"{{{batch}}}@example.com"}],"attributes":{"batch":"{{{batch}}}"},"source":{"type":"enquiry"}}
            """, Ct)))["id"]!;
        await OkAsync(Api.PostAsync($"v1/customers/{customer}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""", Ct));
        await SendAsync(batch);
        var sent = Assert.Single(await EntriesAsync(customer, until: 1));
        Assert.Contains("Hello Ada", sent, StringComparison.Ordinal);
        await OkAsync(Api.PatchAsync($"v1/customers/{customer}", """{"given_name":"Augusta"}""", "*", Ct));
        await Eventually.GetAsync(
            () => CountAsync("campaigns", "SELECT count(*) FROM customers WHERE id = $1 AND given_name = 'Augusta'", Key(customer)), n => n == 1, Patience, Ct);

        await ExecuteAsync("interactions", "UPDATE timeline SET at = now() WHERE customer_id = $1", Key(customer));
        await RebuildAsync(Timeline);
        Assert.Equal(sent, Assert.Single(await EntriesAsync(customer, until: 1)));

        await ExecuteAsync("interactions", "DELETE FROM timeline WHERE customer_id = $1", Key(customer));
        await RebuildAsync(Timeline);
        Assert.Equal(sent.Replace("Hello Ada", "Hello Augusta", StringComparison.Ordinal), Assert.Single(await EntriesAsync(customer, until: 1)));
    }

    [Fact]
    public async Task A_rebuild_survives_the_kill_of_the_owner_and_of_its_own_service_is_the_only_one_and_what_is_newer_wins()
    {
        var customer = await PersonAsync();
        var tag = await FillAsync(customer);
        var before = await EntriesAsync(customer, until: 5);
        var id = Key(customer);
        await ExecuteAsync("interactions", "DELETE FROM timeline WHERE customer_id = $1 AND type <> 'invoice'", id);
        await ExecuteAsync("interactions", "UPDATE timeline SET summary = 'newer', version = version + 5 WHERE customer_id = $1", id);
        using var admin = Fixture.Platform.CreateClient("admin");
        await Fixture.Platform["support"].KillAsync();
        string path;
        try
        {
            var started = await StartAsync(admin, Timeline);
            path = $"v1/projections/{Timeline}/rebuilds/{started["id"]}";
            Assert.Equal("running", (string?)started["state"]);
            var second = await admin.CallAsync(HttpMethod.Post, $"v1/projections/{Timeline}/rebuilds", ct: Ct);
            Assert.Equal((HttpStatusCode.Conflict, "conflict", (string?)started["id"]), (second.Status, second.Code, (string?)second["existing_id"]));

            // All is there but what the owner that is away has.
            await Eventually.GetAsync(() => admin.CallAsync(path, Ct), r => r["sources"]?[3]?["finished_at"] is not null && r["error"] is not null, Patience, Ct);
            Assert.Equal(4, (await EntriesAsync(customer, until: 4)).Count);
            await OrderAsync(customer, tag, 9900);
            await Eventually.GetAsync(() => EntriesAsync(customer, until: 4), e => e.Any(entry => entry.Contains("99.00 USD", StringComparison.Ordinal)), Patience, Ct);

            await Fixture.Platform["interactions"].KillAsync();
            await Fixture.Platform["interactions"].StartAsync(ct: Ct);
            var going = await Eventually.GetAsync(() => admin.CallAsync(path, Ct), r => r.Status == HttpStatusCode.OK, Patience, Ct);
            Assert.Equal("running", (string?)going["state"]);
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        await CompletedAsync(admin, path);
        var after = await EntriesAsync(customer, until: 5);
        Assert.Equal(Of("case", before), Of("case", after));
        Assert.Equal(Of("payment", before), Of("payment", after));
        Assert.Contains("99.00 USD", Of("order", after), StringComparison.Ordinal);
        Assert.Contains("newer", Of("invoice", after), StringComparison.Ordinal);

        static string Of(string type, IReadOnlyList<string> entries) => Assert.Single(entries, e => e.Contains($"\"type\": \"{type}\"", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("interactions")]
    [InlineData("campaigns")]
    [InlineData("billing-sync")]
    [InlineData("support")]
    public async Task A_copy_of_customers_is_right_again(string service)
    {
        var (spoilt, lost) = (await PersonAsync(), await PersonAsync());
        await OkAsync(Api.PostAsync($"v1/customers/{spoilt}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""", Ct));
        Guid[] ids = [Key(spoilt), Key(lost)];
        var before = await Eventually.GetAsync(() => CopyAsync(service, ids), c => c.Count == 3, Patience, Ct);
        await ExecuteAsync(service, "UPDATE customers SET display_name = 'spoilt', state = 'deleted', tags = '{x}' WHERE id = $1", ids[0]);
        await ExecuteAsync(service, "UPDATE customer_consents SET state = 'denied' WHERE customer_id = $1", ids[0]);
        await ExecuteAsync(service, "DELETE FROM customers WHERE id = $1", ids[1]);
        await ExecuteAsync(service, "UPDATE tiers SET rank = -1 WHERE name = 'gold' AND $1 IS NOT NULL", ids[0]);

        var rebuild = await RebuildAsync($"{service}.customer-copy");

        Assert.Equal(before, await CopyAsync(service, ids));
        Assert.True((long)rebuild["repaired"]! >= 4, rebuild.ToJsonString());
        Assert.Equal(0, await CountAsync(service, "SELECT count(*) FROM tiers WHERE rank = -1 AND $1 IS NOT NULL", ids[0]));
        Assert.Equal(["contacts.tiers", "contacts.grants", "contacts.customers"], rebuild["sources"]!.AsArray().Select(s => (string?)s!["source"]));
        await LeavesAloneAsync($"{service}.customer-copy");
    }

    [Fact]
    public async Task Entries_of_merged_customers_come_back_to_the_survivor_and_the_undo_still_parts_them()
    {
        var (survivor, absorbed) = (await PersonAsync(), await PersonAsync());
        await FillAsync(survivor);
        await FillAsync(absorbed);
        var before = await EntriesAsync(absorbed, until: 5);
        await EntriesAsync(survivor, until: 5);
        var merge = (string)(await Api.MergeAsync(survivor, absorbed, Ct))["id"]!;
        await Api.WaitForMergeAsync(merge, "completed", Ct);
        await EntriesAsync(survivor, until: 10);
        await ExecuteAsync("interactions", "DELETE FROM timeline WHERE customer_id = $1", Key(survivor));

        await RebuildAsync(Timeline);

        await EntriesAsync(survivor, until: 10);
        await Api.UndoAsync(merge, Ct);
        await Api.WaitForMergeAsync(merge, "undone", Ct);
        Assert.Equal(before, await EntriesAsync(absorbed, until: 5));
        await EntriesAsync(survivor, until: 5);
    }

    [Fact]
    public async Task Who_was_erased_stays_it()
    {
        var customer = await PersonAsync();
        await FillAsync(customer);
        await EntriesAsync(customer, until: 5);
        using var admin = Fixture.Platform.CreateClient("admin");
        var version = (await admin.CallAsync($"v1/customers/{customer}", Ct)).ETag!;
        var erasure = await OkAsync(admin.CallAsync(HttpMethod.Post, $"v1/customers/{customer}/erasures", """{"reason":"Asked for it"}""", [("If-Match", version)], Ct));
        await Eventually.GetAsync(() => admin.CallAsync($"v1/erasures/{erasure["id"]}", Ct), e => (string?)e["status"] == "completed", Patience, Ct);

        // BillingSync keeps the invoice.
        await RebuildAsync(Timeline);
        await RebuildAsync("interactions.customer-copy");

        Assert.Equal(0, await CountAsync("interactions", Entries, Key(customer)));
        Assert.Equal(1, await CountAsync("interactions", "SELECT count(*) FROM customers WHERE id = $1 AND state = 'erased'", Key(customer)));

        // A database of before the erasure: what comes back of that is gone when both were rebuilt in the order that the guide says.
        await ExecuteAsync("interactions", "DELETE FROM customers WHERE id = $1", Key(customer));
        await ExecuteAsync("interactions", "INSERT INTO customer_consents (customer_id, channel, purpose, state, version, at) VALUES ($1, 'email', 'marketing', 'granted', 1, now())", Key(customer));
        await RebuildAsync(Timeline);
        Assert.NotEqual(0, await CountAsync("interactions", Entries, Key(customer)));
        await RebuildAsync("interactions.customer-copy");
        await RebuildAsync(Timeline);
        Assert.Equal(0, await CountAsync("interactions", Entries, Key(customer)));
        Assert.Equal(0, await CountAsync("interactions", "SELECT count(*) FROM customer_consents WHERE customer_id = $1", Key(customer)));
    }

    [Fact]
    public async Task Projections_are_listed_and_rebuilt_by_an_administrator_only_and_by_their_names()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        var listed = (await admin.CallAsync("v1/projections", Ct)).Data;
        Assert.Equal(ProjectionCatalog.All.Select(p => p.Id), listed.Select(p => (string?)p["id"]));
        Assert.All(listed, p => Assert.True((bool)p["available"]!));
        foreach (var (method, path) in new[]
        {
            (HttpMethod.Get, "v1/projections"), (HttpMethod.Post, $"v1/projections/{Timeline}/rebuilds"), (HttpMethod.Get, $"v1/projections/{Timeline}/rebuilds/{Ids.Rebuild.Format(Guid.CreateVersion7())}"),
        })
        {
            Assert.Equal((HttpStatusCode.Forbidden, "insufficient_scope"), await CodeAsync(Api, method, path));
        }

        Assert.Equal((HttpStatusCode.NotFound, "not_found"), await CodeAsync(admin, HttpMethod.Post, "v1/projections/interactions.nothing/rebuilds"));
        Assert.Equal((HttpStatusCode.NotFound, "not_found"), await CodeAsync(admin, HttpMethod.Get, $"v1/projections/{Timeline}/rebuilds/{Ids.Rebuild.Format(Guid.CreateVersion7())}"));
        Assert.Equal((HttpStatusCode.NotFound, "not_found"), await CodeAsync(admin, HttpMethod.Get, $"v1/projections/{Timeline}/rebuilds/none"));

        var rebuild = await RebuildAsync("support.customer-copy");
        var last = (await admin.CallAsync("v1/projections", Ct)).Data.Single(p => (string?)p["id"] == "support.customer-copy")["last_rebuild"]!;
        Assert.Equal(((string?)rebuild["id"], "completed"), ((string?)last["id"], (string?)last["state"]));

        async Task<(HttpStatusCode, string?)> CodeAsync(HttpClient client, HttpMethod method, string path)
        {
            var answer = await client.CallAsync(method, path, ct: Ct);
            return (answer.Status, answer.Code);
        }
    }

    /// <summary>Of what is right nothing is written again, once what other tests did has arrived.</summary>
    private Task LeavesAloneAsync(string projection) =>
        Eventually.GetAsync(() => RebuildAsync(projection), r => ((long)r["repaired"]!, (long)r["removed"]!) == (0, 0), Patience, Ct);

    private async Task<JsonNode> RebuildAsync(string projection)
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        var started = await StartAsync(admin, projection);
        return await CompletedAsync(admin, $"v1/projections/{projection}/rebuilds/{started["id"]}");
    }

    private static async Task<JsonNode> StartAsync(HttpClient admin, string projection)
    {
        var started = await admin.CallAsync(HttpMethod.Post, $"v1/projections/{projection}/rebuilds", ct: Ct);
        Assert.True(started.Status == HttpStatusCode.Accepted, started.ToString());
        return started.Body!;
    }

    private static async Task<JsonNode> CompletedAsync(HttpClient admin, string path) =>
        (await Eventually.GetAsync(() => admin.CallAsync(path, Ct), r => (string?)r["state"] == "completed", Patience, Ct)).Body!;

    private async Task<string> PersonAsync() => (string)(await OkAsync(Api.PostAsync(
        "v1/customers", $$$"""{"kind":"person","given_name":"Rebuilt","family_name":"Byron {{{Guid.NewGuid():n}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    /// <summary>One thing of each service; the external id of all of them.</summary>
    private async Task<string> FillAsync(string customer)
    {
        var tag = Guid.NewGuid().ToString("n");
        await OkAsync(Api.PostAsync("v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-03T00:00:00Z","subject":"A question"}""", Ct));
        await OrderAsync(customer, tag, 2390);
        await OkAsync(Api.PutAsync($"v1/invoices/by-external-id/shop/{tag}",
            $$$"""{"customer_id":"{{{customer}}}","number":"R-17","issued_at":"2026-03-01T01:00:00Z","total":{"amount_minor":2390,"currency":"USD"},"status":"open"}""", Ct));
        await OkAsync(Api.PutAsync($"v1/payments/by-external-id/shop/{tag}",
            $$$"""{"customer_id":"{{{customer}}}","paid_at":"2026-03-02T00:00:00Z","amount":{"amount_minor":2390,"currency":"USD"},"method":"card","status":"succeeded"}""", Ct));
        await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it?"}""", Ct));
        return tag;
    }

    private Task<JsonNode> OrderAsync(string customer, string tag, int amount) => OkAsync(Api.PutAsync($"v1/orders/by-external-id/shop/{tag}",
        $$$"""{"customer_id":"{{{customer}}}","placed_at":"2026-03-01T00:00:00Z","lines":[],"total":{"amount_minor":{{{amount}}},"currency":"USD"},"status":"completed"}""", Ct));

    /// <summary>The customer's rows of the timeline, once there are so many.</summary>
    private Task<List<string>> EntriesAsync(string customer, int until) => Eventually.GetAsync(
        () => ReadAsync("interactions", "SELECT to_jsonb(t)::text FROM timeline t WHERE customer_id = $1 ORDER BY type, id", Key(customer)), e => e.Count == until, Patience, Ct);

    private async Task<List<string>> CopyAsync(string service, Guid[] customers) =>
    [
        .. await ReadAsync(service, "SELECT to_jsonb(c)::text FROM customers c WHERE id = ANY ($1) ORDER BY id", customers),
        .. await ReadAsync(service, "SELECT to_jsonb(c)::text FROM customer_consents c WHERE customer_id = ANY ($1) ORDER BY customer_id", customers),
    ];

    private async Task<List<string>> ReadAsync<T>(string service, string sql, T parameter)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
#pragma warning disable CA2100 // Constants of this test.
        await using var command = database.CreateCommand(sql);
#pragma warning restore CA2100
        command.Parameters.Add(new NpgsqlParameter<T> { TypedValue = parameter });
        await using var reader = await command.ExecuteReaderAsync(Ct);
        var rows = new List<string>();
        while (await reader.ReadAsync(Ct))
        {
            rows.Add(reader.GetString(0));
        }

        return rows;
    }

    private async Task<long> CountAsync(string service, string sql, Guid id) =>
        long.Parse(Assert.Single(await ReadAsync(service, $"SELECT ({sql})::text", id)));

    private async Task ExecuteAsync(string service, string sql, Guid id)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
#pragma warning disable CA2100 // Constants of this test.
        await using var command = database.CreateCommand(sql);
#pragma warning restore CA2100
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
        Assert.True(await command.ExecuteNonQueryAsync(Ct) > 0, sql);
    }

    private static Guid Key(string customer) => Ids.Customer.TryParse(customer, out var id) ? id : throw new ArgumentException("Not a customer id.", nameof(customer));
}
