using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Runner;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Imports through the public door: larger than any other body, and in every copy.</summary>
[Collection(TracedPlatform.Collection)]
public sealed class ImportTests(TracedPlatform fixture)
{
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_an_import_makes_and_its_undo_takes_back_is_the_same_in_every_copy()
    {
        using var client = fixture.Platform.CreateClient();
        var batch = $"b{Guid.NewGuid():n}";
        var body = string.Join('\n', Enumerable.Range(0, 6000).Select(i => $$$"""
            {"kind":"person","given_name":"Ada{{{i}}}","emails":[{"address":"{{{batch}}}-{{{i}}}@example.com"}],"external_ids":[{"system":"shop","id":"{{{batch}}}-{{{i}}}"}],"attributes":{"batch":"{{{batch}}}","note":"{{{new string('x', 300)}}}"}}
            """));
        Assert.True(body.Length > 2_000_000);
        using var content = new StringContent(body, Encoding.UTF8, "application/x-ndjson");
        using var accepted = await client.PostAsync("/v1/imports", content, Ct);
        var import = JsonNode.Parse(await accepted.Content.ReadAsStringAsync(Ct))!;
        Assert.True(accepted.StatusCode == HttpStatusCode.Accepted, import.ToJsonString());
        var path = accepted.Headers.Location!.ToString();
        var done = await Eventually.GetAsync(() => client.CallAsync(path, Ct), a => (string?)a["status"] == "completed", TimeSpan.FromMinutes(2), Ct);
        Assert.Equal(6000, (int)done["created"]!);
        await UntilAsync(import, "active");

        Assert.Equal(HttpStatusCode.Accepted, (await client.PostAsync($"{path}/undo", "{}", Ct)).Status);
        await Eventually.GetAsync(() => client.CallAsync(path, Ct), a => (string?)a["status"] == "undone", TimeSpan.FromMinutes(2), Ct);
        await UntilAsync(import, "removed");
    }

    [Fact]
    public async Task Who_got_anything_in_another_service_is_not_removed_and_nobody_is_while_a_service_cannot_be_asked()
    {
        using var api = fixture.Platform.CreateClient();
        var (path, ids) = await ImportAsync(api, 7);
        var opened = await OkAsync(api.PostAsync("/v1/cases", $$"""{"customer_id":"{{ids[0]}}","type":"question","subject":"Mine"}""", Ct));
        await OkAsync(api.PostAsync("/v1/invoices", $$"""{"customer_id":"{{ids[1]}}","number":"{{Guid.NewGuid():n}}","issued_at":"2026-01-01T00:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"open"}""", Ct));
        await OkAsync(api.PostAsync("/v1/interactions", $$"""{"customer_id":"{{ids[2]}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z"}""", Ct));
        await OkAsync(api.PutAsync($"/v1/customers/{ids[3]}/billing-accounts/stripe", $$"""{"provider_customer_id":"{{Guid.NewGuid():n}}","subscription":"none"}""", Ct));
        await OkAsync(api.PutAsync($"/v1/payments/by-external-id/shop/{Guid.NewGuid():n}", $$"""{"customer_id":"{{ids[4]}}","paid_at":"2026-01-01T00:00:00Z","amount":{"amount_minor":100,"currency":"EUR"},"method":"card","status":"succeeded"}""", Ct));

        await fixture.Platform["support"].KillAsync();
        try
        {
            await OkAsync(api.PostAsync($"{path}/undo", "{}", Ct));
            var waiting = await Eventually.GetAsync(() => api.CallAsync(path, Ct), a => a["undo"]!["missing"]!.AsArray().Any(m => (string?)m == "support"), TimeSpan.FromMinutes(1), Ct);
            Assert.Equal(("undoing", 0), ((string?)waiting["status"], (int)waiting["undo"]!["removed"]!));
            Assert.Equal(HttpStatusCode.OK, (await api.CallAsync($"/v1/customers/{ids[6]}", Ct)).Status);
        }
        finally
        {
            await fixture.Platform["support"].StartAsync(ct: Ct);
        }

        var undone = await Eventually.GetAsync(() => api.CallAsync(path, Ct), a => (string?)a["status"] == "undone", TimeSpan.FromMinutes(2), Ct);
        Assert.Equal((2, 5, 0), ((int)undone["undo"]!["removed"]!, (int)undone["undo"]!["refused"]!, undone["undo"]!["missing"]!.AsArray().Count));
        Assert.Equal(
            ["has_cases", "has_invoices", "has_interactions", "has_billing_accounts", "has_payments", null, null],
            (await api.CallAsync($"{path}/results", Ct)).Data.Select(r => (string?)r["undo_reason"]));
        Assert.Equal((ids[0], HttpStatusCode.OK), ((string?)(await api.CallAsync($"/v1/cases/{opened["id"]}", Ct))["customer_id"], (await api.CallAsync($"/v1/customers/{ids[0]}", Ct)).Status));

        // Every service has heard of it, and takes nothing for who is gone.
        await UntilCopiedAsync(ids[6]);
        foreach (var part in (string[])["", "/overview", "/timeline", "/account", "/billing-accounts"])
        {
            var gone = await api.CallAsync($"/v1/customers/{ids[6]}{part}", Ct);
            Assert.True((HttpStatusCode.Gone, "gone") == (gone.Status, gone.Code), $"{part}: {gone}");
        }

        foreach (var (to, body) in new[]
        {
            ("/v1/cases", """ "type":"question","subject":"Late"}"""),
            ("/v1/interactions", """ "channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z"}"""),
            ("/v1/invoices", """ "number":"late","issued_at":"2026-01-01T00:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"open"}"""),
        })
        {
            var refused = await api.PostAsync(to, $$"""{"customer_id":"{{ids[6]}}",{{body}}""", Ct);
            Assert.True(("unknown_customer", "removed") == (refused.Code, (string?)refused["errors"]?[0]?["code"]), $"{to}: {refused}");
        }
    }

    [Fact]
    public async Task A_row_that_a_service_writes_while_its_customer_is_removed_stays_and_is_exported_and_erased()
    {
        using var api = fixture.Platform.CreateClient();
        var (path, ids) = await ImportAsync(api, 2);
        var model = await OkAsync(api.PostAsync("/v1/cases", $$"""{"customer_id":"{{ids[0]}}","type":"question","subject":"Mine"}""", Ct));
        var (removed, late) = (Ids.Customer.Parse(ids[1]), Guid.CreateVersion7());
        await using var support = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("support"));

        // As Support opens a case, which it commits when Contacts has asked it and removed the customer.
        await using (var connection = await support.OpenConnectionAsync(Ct))
        await using (var transaction = await connection.BeginTransactionAsync(Ct))
        {
            await using var open = new NpgsqlCommand("""
                INSERT INTO cases SELECT (jsonb_populate_record(c, jsonb_build_object('id', $1, 'customer_id', hold_customer($2), 'origin_customer_id', $2))).*
                FROM cases c WHERE id = $3
                """, connection, transaction);
            open.Parameters.AddWithValue(late);
            open.Parameters.AddWithValue(removed);
            open.Parameters.AddWithValue(Ids.Case.Parse((string)model["id"]!));
            Assert.Equal(1, await open.ExecuteNonQueryAsync(Ct));
            await OkAsync(api.PostAsync($"{path}/undo", "{}", Ct));
            var undone = await Eventually.GetAsync(() => api.CallAsync(path, Ct), a => (string?)a["status"] == "undone", TimeSpan.FromMinutes(1), Ct);
            Assert.Equal((1, 1), ((int)undone["undo"]!["removed"]!, (int)undone["undo"]!["refused"]!));
            await transaction.CommitAsync(Ct);
        }

        await UntilCopiedAsync(ids[1]);
        var export = await OkAsync(api.PostAsync($"/v1/customers/{ids[1]}/exports", "{}", Ct));
        await Eventually.GetAsync(() => api.CallAsync($"/v1/exports/{export["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        var archive = await OkAsync(api.CallAsync($"/v1/exports/{export["id"]}/archive", Ct));
        Assert.Equal(Ids.Case.Format(late), (string?)Assert.Single(archive["services"]!["support"]!["cases"]!.AsArray())!["id"]);

        var hold = await OkAsync(api.PostAsync($"/v1/customers/{ids[1]}/legal-holds", """{"reason":"A lawsuit"}""", Ct));
        Assert.Equal("legal_hold", (await EraseAsync()).Code);
        await OkAsync(api.PostAsync($"/v1/customers/{ids[1]}/legal-holds/{hold["id"]}/lift", """{"reason":"It is over"}""", Ct));
        var erasure = await OkAsync(EraseAsync());
        var done = await Eventually.GetAsync(() => api.CallAsync($"/v1/erasures/{erasure["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal(1, (int)done["receipts"]!.AsArray().Single(r => (string?)r!["service"] == "support")!["erased"]!["cases"]!);
        Assert.Equal("erased", (await api.CallAsync($"/v1/customers/{ids[1]}", Ct)).Code);
        Assert.Equal(HttpStatusCode.OK, (await api.CallAsync($"/v1/cases/{model["id"]}", Ct)).Status);

        Task<JsonAnswer> EraseAsync() => api.CallAsync(HttpMethod.Post, $"/v1/customers/{ids[1]}/erasures", """{"reason":"Asked for"}""", [("If-Match", "*")], Ct);
    }

    [Fact]
    public async Task Any_other_body_is_still_a_megabyte_at_most()
    {
        using var client = fixture.Platform.CreateClient();
        using var content = new StringContent($$"""{"name":"{{new string('x', 2_000_000)}}"}""", Encoding.UTF8, "application/json");
        using var request = new HttpRequestMessage(HttpMethod.Put, "/v1/import-mappings/large") { Content = content };
        request.Headers.ExpectContinue = true;
        using var answer = await client.SendAsync(request, Ct);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
    }

    /// <summary>New people with nothing, in the order of the rows.</summary>
    private static async Task<(string Path, List<string> Ids)> ImportAsync(HttpClient api, int count)
    {
        var system = $"u{Guid.NewGuid():n}";
        using var content = new StringContent(
            string.Join('\n', Enumerable.Range(0, count).Select(i => $$"""{"kind":"person","given_name":"Undo","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}""")), Encoding.UTF8, "application/x-ndjson");
        using var accepted = await api.PostAsync("/v1/imports", content, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var path = accepted.Headers.Location!.ToString();
        await Eventually.GetAsync(() => api.CallAsync(path, Ct), a => (string?)a["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        return (path, (await api.CallAsync($"{path}/results", Ct)).Data.Select(r => (string)r["customer_id"]!).ToList());
    }

    private async Task UntilCopiedAsync(string removed)
    {
        foreach (var copy in Copies)
        {
            await using var database = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync(copy));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var state = database.CreateCommand("SELECT state FROM customers WHERE id = $1");
                    state.Parameters.AddWithValue(Ids.Customer.Parse(removed));
                    return (string?)await state.ExecuteScalarAsync(Ct);
                },
                found => found == "removed", TimeSpan.FromMinutes(1), Ct);
        }
    }

    /// <summary>Waits until each copy has the six thousand in this state, and nothing of who was removed.</summary>
    private async Task UntilAsync(JsonNode import, string state)
    {
        await using var contacts = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("contacts"));
        var ids = new List<Guid>();
        await using (var command = contacts.CreateCommand("SELECT customer_id FROM import_results r JOIN customers c ON c.id = r.customer_id WHERE c.state = $1 AND r.import_id = $2"))
        {
            command.Parameters.AddWithValue(state);
            command.Parameters.AddWithValue(PublicIds.Parse((string)import["id"]!));
            await using var reader = await command.ExecuteReaderAsync(Ct);
            while (await reader.ReadAsync(Ct))
            {
                ids.Add(reader.GetGuid(0));
            }
        }

        Assert.Equal(6000, ids.Count);
        foreach (var copy in Copies)
        {
            await using var database = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync(copy));
            await Eventually.GetAsync(
                async () =>
                {
                    await using var count = database.CreateCommand("SELECT count(*) FROM customers WHERE id = ANY ($1) AND state = $2 AND ($2 = 'active' OR (given_name IS NULL AND primary_email IS NULL))");
                    count.Parameters.AddWithValue(ids);
                    count.Parameters.AddWithValue(state);
                    return (long)(await count.ExecuteScalarAsync(Ct))!;
                },
                found => found == 6000, TimeSpan.FromSeconds(60), Ct);
        }
    }
}
