using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Contracts.Merges.V1;
using Crm.Testing;
using Grpc.Core;
using Npgsql;

namespace Contacts.Tests;

/// <summary>One of them kills Contacts: nobody else works with it meanwhile.</summary>
[CollectionDefinition(nameof(ImportTests), DisableParallelization = true)]
[Collection(nameof(ImportTests))]
public sealed class ImportTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task An_undone_import_removes_what_it_created_restores_what_it_updated_and_refuses_what_was_edited_since()
    {
        var system = $"s{Unique()}";
        // Four thousand that are there already, with an address of their own.
        var old = await ImportAsync(Lines(4000, i => $$"""{"kind":"person","given_name":"Old{{i}}","family_name":"Before","emails":[{"address":"{{system}}-{{i}}@example.com"}],"external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        Assert.Equal((4000, 4000, 0), Counts(old, "total", "created", "failed"));
        var before = await SnapshotAsync(system);

        var import = await ImportAsync(Lines(10_000, i => $$"""{"kind":"person","given_name":"New{{i}}","family_name":"After","phones":[{"number":"+4420{{i:00000000}}"}],"external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        Assert.Equal(("completed", 10_000), ((string?)import["status"], (int)import["processed"]!));
        Assert.Equal((6000, 4000, 0), Counts(import, "created", "updated", "failed"));
        Assert.Null(import["undo"]);

        var edited = new List<string>();
        foreach (var i in (int[])[0, 17, 1999, 2500, 3999])
        {
            var (read, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/{i}");
            Assert.Equal($"New{i}", (string?)customer["given_name"]);
            Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"department":"sales"}""", ("If-Match", read.Headers.ETag!.Tag))).Response.StatusCode);
            edited.Add((string)customer["id"]!);
        }

        var path = $"/v1/imports/{import["id"]}";
        var (accepted, _) = await SendAsync(HttpMethod.Post, $"{path}/undo", "{}");
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        await SendAsync(HttpMethod.Post, $"{path}/undo", "{}");
        var undone = await UntilAsync(path, "undone");
        Assert.Equal((6000, 3995, 5), Counts(undone["undo"]!, "removed", "restored", "refused"));

        var (_, refused) = await SendAsync(HttpMethod.Get, $"{path}/results?undo=refused");
        Assert.Equal(edited.Order(), refused["data"]!.AsArray().Select(r => (string)r!["customer_id"]!).Order());
        Assert.All(refused["data"]!.AsArray(), r => Assert.Equal("edited", (string?)r!["undo_reason"]));

        // Those restored are as they were; those removed are gone, from the search too, and free their external ids.
        var after = await SnapshotAsync(system);
        Assert.Equal(3995, before.Count(b => after.TryGetValue(b.Key, out var now) && now == b.Value));
        Assert.Equal(4000, after.Count);
        var (_, history) = await SendAsync(HttpMethod.Get, $"/v1/customers/{(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1")).Body["id"]}/history");
        Assert.Equal("restored updated created", string.Join(' ', history["data"]!.AsArray().Select(h => (string?)h!["action"])));
        Assert.All(history["data"]!.AsArray(), h => Assert.Equal("key_test", (string?)h!["actor"]));
        var (_, removed) = await SendAsync(HttpMethod.Get, $"{path}/results?undo=removed&limit=1");
        var (gone, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers/{removed["data"]![0]!["customer_id"]}");
        AssertProblem(gone, problem, 410, "gone");
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/9999")).Response.StatusCode);
        Assert.Equal(1, (int)(await ImportAsync($$"""{"kind":"person","given_name":"Again","external_ids":[{"system":"{{system}}","id":"9999"}]}"""))["created"]!);
    }

    [Fact]
    public async Task Imports_of_the_same_rows_are_undone_one_after_the_other_the_last_one_first()
    {
        var system = $"o{Unique()}";
        var imports = new List<JsonNode>();
        foreach (var (first, second) in new[] { ("Ada", "Ada"), ("Bea", "Bee"), ("Cleo", "Cleo") })
        {
            imports.Add(await ImportAsync($$"""
                {"kind":"person","given_name":"{{first}}","external_ids":[{"system":"{{system}}","id":"1"}]}
                {"kind":"person","given_name":"{{second}}","external_ids":[{"system":"{{system}}","id":"1"}]}
                """));
        }

        Assert.Equal((0, 1, 0), await UndoAsync(imports[2]));
        Assert.Equal("Bee", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1")).Body["given_name"]);
        Assert.Equal((0, 1, 0), await UndoAsync(imports[1]));
        Assert.Equal("Ada", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1")).Body["given_name"]);
        Assert.Equal((1, 0, 0), await UndoAsync(imports[0]));

        async Task<(int, int, int)> UndoAsync(JsonNode import)
        {
            await OkAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
            return Counts((await UntilAsync($"/v1/imports/{import["id"]}", "undone"))["undo"]!, "removed", "restored", "refused");
        }
    }

    [Fact]
    public async Task Of_a_customer_whose_import_was_undone_no_value_is_left()
    {
        var (system, name) = ($"g{Unique()}", $"Zq{Unique()}");
        var import = await ImportAsync(Lines(2, i => $$"""{"kind":"person","given_name":"{{name}}{{i}}","external_ids":[{"system":"{{system}}","id":"1"}]}"""));
        Assert.Equal((1, 1, 0), Counts(import, "created", "updated", "failed"));
        Assert.Equal((2, 1), (await CountAsync("audit_value", name), await CountAsync("import_results", name)));
        await OkAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        Assert.Equal(1, (int)(await UntilAsync($"/v1/imports/{import["id"]}", "undone"))["undo"]!["removed"]!);
        Assert.Equal((0, 0), (await CountAsync("audit_value", name), await CountAsync("import_results", name)));
        var audit = await Fixture.Platform["contacts"].RunModeAsync(["--audit", "verify"], Ct);
        Assert.True(audit.ExitCode == 0 && audit.Output.StartsWith("whole:", StringComparison.Ordinal), audit.Output);
    }

    [Fact]
    public async Task What_a_created_customer_got_since_keeps_it_from_being_removed()
    {
        var system = $"u{Unique()}";
        var import = await ImportAsync(Lines(9, i => $$"""{"kind":"person","given_name":"Dee","department":"sales","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        var ids = new List<string>();
        for (var i = 0; i < 9; i++)
        {
            ids.Add((string)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/{i}")).Body["id"]!);
        }

        await OkAsync(HttpMethod.Patch, $"/v1/customers/{ids[0]}", """{"locale":"en-GB"}""", ("If-Match", "*"));
        await OkAsync(HttpMethod.Post, $"/v1/customers/{ids[1]}/consents", """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call"}""");
        await OkAsync(HttpMethod.Post, $"/v1/customers/{ids[2]}/legal-holds", """{"reason":"A lawsuit"}""");
        var firm = await CreateAsync($$$"""{"kind":"organization","name":"Firm {{{system}}}","source":{"type":"enquiry"}}""");
        await OkAsync(HttpMethod.Post, $"/v1/customers/{ids[3]}/relationships", $$"""{"type":"role","to_id":"{{firm["id"]}}","role":"buyer"}""");
        await OkAsync(HttpMethod.Put, $"/v1/customers/{ids[4]}/account-manager", """{"manager":"usr_dee"}""");
        await OkAsync(HttpMethod.Post, "/v1/grants", $$"""{"owner_department":"sales","grantee_department":"{{system}}","scope":"customer","customer_id":"{{ids[5]}}","access":"read","reason":"Shared"}""");
        await using (var bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct))
        {
            // Cancelled: it moves no lifecycle.
            await bus.PublishAsync(new OrderRecorded(Ids.Order.Format(Guid.CreateVersion7()), 1, ids[6], DateTimeOffset.UtcNow, 1, new(1000, "EUR"), "cancelled", ids[6]), ct: Ct);
        }

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var orders = database.CreateCommand("SELECT count(*) FROM placed_orders WHERE customer_id = $1");
        orders.Parameters.AddWithValue(Ids.Customer.Parse(ids[6]));
        await Eventually.GetAsync(async () => (long)(await orders.ExecuteScalarAsync(Ct))!, n => n == 1, TimeSpan.FromSeconds(30), Ct);
        // A hold that was lifted holds nothing.
        var hold = await OkAsync(HttpMethod.Post, $"/v1/customers/{ids[7]}/legal-holds", """{"reason":"A mistake"}""");
        await OkAsync(HttpMethod.Post, $"/v1/customers/{ids[7]}/legal-holds/{hold["id"]}/lift", """{"reason":"It was one"}""");

        await OkAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        var undone = await UntilAsync($"/v1/imports/{import["id"]}", "undone");
        Assert.Equal((2, 0, 7), Counts(undone["undo"]!, "removed", "restored", "refused"));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(
            ["edited", "has_consents", "legal_hold", "has_relationships", "has_account_manager", "has_grants", "has_orders", null, null],
            results["data"]!.AsArray().Select(r => (string?)r!["undo_reason"]));
    }

    [Fact]
    public async Task Other_services_are_asked_for_a_thousand_customers_at_once_and_one_that_does_not_answer_holds_up_no_import()
    {
        var system = $"w{Unique()}";
        var import = await ImportAsync(Lines(1500, i => $$"""{"kind":"person","given_name":"Wait","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        var used = (string)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/7")).Body["id"]!;
        var (away, asked, path) = (true, new List<(string Service, int Customers, bool Away)>(), $"/v1/imports/{import["id"]}");
        Fixture.Peers.FindOwners = (service, customers) =>
        {
            var down = away;
            lock (asked)
            {
                asked.Add((service, customers.Count, down));
            }

            return service != "support" ? new()
                : down ? throw new RpcException(new Status(StatusCode.Internal, "Out of order"))
                : new() { Tables = { new TableOwners { Table = "cases", CustomerIds = { customers.Where(c => c == used) } } } };
        };
        try
        {
            await OkAsync(HttpMethod.Post, $"{path}/undo", "{}");
            var waiting = await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, path)).Body, i => i["undo"]!["missing"]!.AsArray().Count > 0, TimeSpan.FromMinutes(1), Ct);
            Assert.Equal(("undoing", "support"), ((string?)waiting["status"], (string?)Assert.Single(waiting["undo"]!["missing"]!.AsArray())));
            Assert.Equal((0, 0, 0), Counts(waiting["undo"]!, "removed", "restored", "refused"));
            Assert.Equal(1, (int)(await ImportAsync($$"""{"kind":"person","given_name":"Other","external_ids":[{"system":"{{system}}","id":"other"}]}"""))["created"]!);
            await Eventually.GetAsync(() => Task.FromResult(Asked(of: true)), a => a.Count >= 2, TimeSpan.FromMinutes(1), Ct);
            Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, $"/v1/customers/{used}")).Response.StatusCode);

            away = false;
            var undone = await UntilAsync(path, "undone");
            Assert.Equal((1499, 0, 1), Counts(undone["undo"]!, "removed", "restored", "refused"));
            Assert.Empty(undone["undo"]!["missing"]!.AsArray());
            var (_, refused) = await SendAsync(HttpMethod.Get, $"{path}/results?undo=refused");
            Assert.Equal((used, "has_cases"), ((string?)refused["data"]![0]!["customer_id"], (string?)refused["data"]![0]!["undo_reason"]));
            // To wait is no failure, after which a batch would be smaller.
            Assert.All(Asked(of: true), a => Assert.Equal(1000, a.Customers));
            // The same again where an answer took longer than is waited for.
            Assert.Equal([500, 1000], Asked(of: false).Where(a => a.Service == "support").Select(a => a.Customers).Distinct().Order());
        }
        finally
        {
            Fixture.Peers.FindOwners = (_, _) => new();
        }

        List<(string Service, int Customers, bool Away)> Asked(bool of)
        {
            lock (asked)
            {
                return asked.FindAll(a => a.Service == "support" && a.Away == of);
            }
        }
    }

    [Fact]
    public async Task An_import_that_was_killed_in_the_middle_goes_on_where_it_was_and_makes_every_customer_once()
    {
        var system = $"k{Unique()}";
        var (accepted, import) = await PostAsync("/v1/imports", Lines(20_000, i => $$"""{"kind":"person","given_name":"Kill{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var path = accepted.Headers.Location!.ToString();
        var kills = 0;
        for (var processed = 0; kills < 3 && processed < 20_000;)
        {
            var (_, now) = await SendAsync(HttpMethod.Get, path);
            if ((int)now["processed"]! is var reached && reached > processed && reached < 20_000)
            {
                processed = reached;
                await Fixture.Platform["contacts"].KillAsync();
                Fixture.Platform["contacts"].Start();
                await Fixture.Platform["contacts"].WaitUntilReadyAsync(ct: Ct);
                kills++;
            }
            else
            {
                processed = reached;
            }
        }

        var done = await UntilAsync(path, "completed");
        Assert.True(kills > 0, "It was never killed while it ran.");
        Assert.Equal((20_000, 20_000, 0), Counts(done, "total", "created", "failed"));
        Assert.Equal(20_000, (await SnapshotAsync(system)).Count);
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var rows = database.CreateCommand("SELECT count(DISTINCT customer_id), count(*), (SELECT count(*) FROM import_rows) FROM import_results WHERE import_id = (SELECT import_id FROM import_results r JOIN external_ids e USING (customer_id) WHERE e.system = $1 LIMIT 1)");
        rows.Parameters.AddWithValue(system);
        await using var reader = await rows.ExecuteReaderAsync(Ct);
        await reader.ReadAsync(Ct);
        Assert.Equal((20_000, 20_000, 0), (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2)));
    }

    [Fact]
    public async Task A_file_that_is_sent_again_under_its_key_is_one_import()
    {
        var (system, key) = ($"i{Unique()}", Unique());
        // More than is read at once.
        var file = Lines(5000, i => $$"""{"kind":"person","given_name":"Once{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}""");
        var (first, import) = await SendFileAsync(file);
        Assert.True(first.StatusCode == HttpStatusCode.Accepted, import.ToJsonString());
        var (second, again) = await SendFileAsync(file);
        Assert.Equal((HttpStatusCode.Accepted, "true"), (second.StatusCode, Assert.Single(second.Headers.GetValues("Idempotent-Replayed"))));
        Assert.True(JsonNode.DeepEquals(import, again));
        var (other, problem) = await SendFileAsync(file[..^1] + " }");
        AssertProblem(other, problem, 422, "idempotency_mismatch");
        Assert.Equal((5000, 5000, 0), Counts(await UntilAsync($"/v1/imports/{import["id"]}", "completed"), "total", "created", "failed"));

        async Task<(HttpResponseMessage Response, JsonNode Body)> SendFileAsync(string body)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/imports") { Content = new StringContent(body, Encoding.UTF8, "application/x-ndjson") };
            request.Headers.Add("Idempotency-Key", key);
            var response = await Client.SendAsync(request, Ct);
            return (response, JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!);
        }
    }

    [Fact]
    public async Task Large_rows_come_in_several_batches()
    {
        // Not quite ten megabytes.
        var import = await ImportAsync(Lines(12, i => $$"""{"kind":"person",{{new string(' ', 800_000)}}"given_name":"Large{{i}}"}"""));
        Assert.Equal((12, 12, 0), Counts(import, "total", "created", "failed"));
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var transactions = database.CreateCommand("SELECT count(DISTINCT xmin::text) FROM import_results WHERE import_id = $1");
        transactions.Parameters.AddWithValue(Ids.Import.Parse((string)import["id"]!));
        Assert.Equal(2L, await transactions.ExecuteScalarAsync(Ct));
    }

    [Fact]
    public async Task A_batch_whose_process_was_killed_is_tried_again_smaller()
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        string path;
        Guid id;
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (await connection.BeginTransactionAsync(Ct))
        {
            // The batch waits for it.
            await using var hold = new NpgsqlCommand("LOCK TABLE external_ids", connection);
            await hold.ExecuteNonQueryAsync(Ct);
            var (accepted, import) = await PostAsync("/v1/imports", Lines(60, i => $$"""{"kind":"person","given_name":"Small{{i}}"}"""));
            path = accepted.Headers.Location!.ToString();
            id = Ids.Import.Parse((string)import["id"]!);
            await Eventually.GetAsync(() => ReadAsync("SELECT attempts::bigint FROM imports WHERE id = $1"), n => n == 1, ct: Ct);
            await Fixture.Platform["contacts"].KillAsync();
        }

        Fixture.Platform["contacts"].Start();
        await Fixture.Platform["contacts"].WaitUntilReadyAsync(ct: Ct);
        Assert.Equal((60, 60, 0), Counts(await UntilAsync(path, "completed"), "total", "created", "failed"));
        Assert.Equal(50, await ReadAsync("SELECT max(n) FROM (SELECT count(*) AS n FROM import_results WHERE import_id = $1 GROUP BY xmin::text) AS batches"));

        async Task<long> ReadAsync(string sql)
        {
            await using var command = database.CreateCommand(sql);
            command.Parameters.AddWithValue(id);
            return (long)(await command.ExecuteScalarAsync(Ct))!;
        }
    }

    [Fact]
    public async Task Rows_that_wait_for_an_erased_customer_fail_however_they_name_it_and_no_others()
    {
        var (system, word, number) = ($"w{Unique()}", Unique(), $"{Random.Shared.Next(10_000_000, 99_999_999)}");
        var mapping = await SaveMappingAsync($$$"""{"fields":{"Name":"given_name","Mail":"email","Tel":"phone","Nr":"external_id.{{{system}}}","Note":"attributes.note"},"defaults":{"kind":"person"},"calling_code":"+44"}""");
        var ada = await CreateAsync($$$"""
            {"kind":"person","given_name":"Ada","emails":[{"address":"ada+{{{word}}}@example.com"}],"phones":[{"number":"+4420{{{number}}}"}],"external_ids":[{"system":"{{{system}}}","id":"A {{{word}}}"}],"source":{"type":"enquiry"}}
            """);
        var outcomes = await OutcomesAsync(
            (string)ada["id"]!,
            (Csv($"""
                Name,Mail,Tel,Nr,Note
                Zoë,ADA+{word}@example.com,,,
                Zoë,,020 {number[..4]}-{number[4..]},,
                Zoë,,,A {word},
                Zoë,,,,"From
                Ada+{word}@example.com."
                Zoë,,,,(ada+{word}@example.com)
                Zoë,,+44 (0)20 {number},,
                Other,,+4420{number}9,,
                Other,,,A {word}2,
                Other,joada+{word}@example.com,,,
                Other,jo.ada+{word}@example.com,,,
                Other,ada+{word}@example.com.au,,,
                """), $"?mapping={mapping}"),
            (Json($$$"""
                {"kind":"person","given_name":"Zoë","emails":[{"address":"\u0061da\u002B{{{word}}}\u0040example.com"}]}
                {"kind":"person","given_name":"Zoë","phones":[{"number":"+44 (20) {{{number}}}"}]}
                {"kind":"person","given_name":"Zoë","external_ids":[{"id":"A {{{word}}}", "system":"{{{system}}}"}]}
                {"kind":"person","given_name":"Zoë","attributes":{"note":"From\nada+{{{word}}}@example.com."}}
                {"kind":"person","given_name":"Zoë","attributes":{"note":"http:\/\/example.com\/?\"ada+{{{word}}}@example.com\""}}
                {"kind":"person","given_name":"Zoë","phones":[{"number":"+44 (0)20 {{{number}}}"}]}
                {"kind":"person","given_name":"Other","phones":[{"number":"+4420{{{number}}}8"}]}
                {"kind":"person","given_name":"Other","external_ids":[{"system":"{{{system}}}","id":"A {{{word}}}3"}]}
                {"kind":"person","given_name":"Other","emails":[{"address":"joada+{{{word}}}@example.com"}]}
                {"kind":"person","given_name":"Other","emails":[{"address":"jo\u002dada+{{{word}}}@example.com"}]}
                {"kind":"person","given_name":"Other","emails":[{"address":"ada+{{{word}}}@example.com.au"}]}
                """), ""),
            (Workbook(TestWorkbook.Of(
                TestWorkbook.Header("Name", "Mail", "Tel", "Nr", "Note"),
                TestWorkbook.Row(TestWorkbook.Text("A2", "Zoë"), TestWorkbook.Text("B2", $"ADA+{word}@example.com")),
                TestWorkbook.Row(TestWorkbook.Text("A3", "Zoë"), TestWorkbook.Number("C3", $"20{number}")),
                TestWorkbook.Row(TestWorkbook.Text("A4", "Zoë"), TestWorkbook.Text("D4", $"A {word}")),
                TestWorkbook.Row(TestWorkbook.Text("A5", "Zoë"), TestWorkbook.Text("E5", $"From\nada+{word}@example.com.")),
                TestWorkbook.Row(TestWorkbook.Text("A6", "Zoë"), TestWorkbook.Text("E6", $"mailto:ada+{word}@example.com?subject=Ada")),
                TestWorkbook.Row(TestWorkbook.Text("A7", "Zoë"), TestWorkbook.Number("C7", $"4420{number}")),
                TestWorkbook.Row(TestWorkbook.Text("A8", "Other"), TestWorkbook.Text("C8", $"+4420{number}7")),
                TestWorkbook.Row(TestWorkbook.Text("A9", "Other"), TestWorkbook.Text("D9", $"A {word}4")),
                TestWorkbook.Row(TestWorkbook.Text("A10", "Other"), TestWorkbook.Text("B10", $"joada+{word}@example.com")),
                TestWorkbook.Row(TestWorkbook.Text("A11", "Other"), TestWorkbook.Text("B11", $"jo_ada+{word}@example.com")),
                TestWorkbook.Row(TestWorkbook.Text("A12", "Other"), TestWorkbook.Text("B12", $"ada+{word}@example.com.au")))), $"?mapping={mapping}"));
        Assert.All(outcomes, o => Assert.Equal(Enumerable.Repeat("failed", 6).Concat(Enumerable.Repeat("created", 5)), o));
    }

    [Fact]
    public async Task Rows_that_wait_for_an_erased_customer_fail_by_what_it_had_before_too_unless_somebody_else_has_that_now()
    {
        var (word, passed, number) = (Unique(), NewEmail(), $"{Random.Shared.Next(10_000_000, 99_999_999)}");
        var ada = await CreateAsync($$$"""
            {"kind":"person","given_name":"Ada","emails":[{"address":"Ada+{{{word}}}@example.com"},{"address":"{{{passed}}}"}],"phones":[{"number":"+4420{{{number}}}"}],"source":{"type":"enquiry"}}
            """);
        await OkAsync(HttpMethod.Patch, $"/v1/customers/{ada["id"]}", $$"""{"emails":[{"address":"{{NewEmail()}}"}],"phones":[]}""", ("If-Match", "*"));
        await CreatePersonAsync("Bob", "Hill", passed);
        var outcomes = await OutcomesAsync(
            (string)ada["id"]!,
            (Json($$$"""
                {"kind":"person","given_name":"Zoë","emails":[{"address":"ada+{{{word}}}@example.com"}]}
                {"kind":"person","given_name":"Zoë","phones":[{"number":"+44 (0)20 {{{number}}}"}]}
                {"kind":"person","given_name":"Zoë","attributes":{"note":"From ada+{{{word}}}@example.com."}}
                {"kind":"person","given_name":"Other","emails":[{"address":"joada+{{{word}}}@example.com"}]}
                {"kind":"person","given_name":"Other","phones":[{"number":"+4420{{{number}}}9"}]}
                {"kind":"person","given_name":"Other","source":{"type":"import","detail":"Of {{{passed}}}"}}
                """), ""));
        Assert.Equal(["failed", "failed", "failed", "created", "created", "created"], Assert.Single(outcomes));
    }

    [Fact]
    public async Task Rows_that_wait_for_an_erased_customer_fail_when_they_name_it_by_a_unique_field_only()
    {
        var (word, value) = (Unique(), Random.Shared.Next(10_000_000, 99_999_999));
        var (number, code) = (await UniqueFieldAsync("integer"), await UniqueFieldAsync("text"));
        var mapping = await SaveMappingAsync($$$"""{"fields":{"Name":"given_name","Nr":"attributes.{{{number}}}","Code":"attributes.{{{code}}}"},"defaults":{"kind":"person"}}""");
        var ada = await CreateAsync($$$"""{"kind":"person","given_name":"Ada","attributes":{"{{{number}}}":{{{value}}},"{{{code}}}":"A {{{word}}}"},"source":{"type":"enquiry"}}""");
        var outcomes = await OutcomesAsync(
            (string)ada["id"]!,
            (Csv($"""
                Name,Nr,Code
                Zoë,00{value},
                Zoë,,A {word}
                Other,{value}1,
                Other,,A {word}1
                """), $"?mapping={mapping}"),
            (Json($$$"""
                {"kind":"person","given_name":"Zoë","attributes":{"{{{number}}}": {{{value}}}}}
                {"kind":"person","given_name":"Zoë","attributes":{"{{{code}}}":"A {{{word}}}","other":1}}
                {"kind":"person","given_name":"Other","attributes":{"{{{number}}}":{{{value}}}2}}
                {"kind":"person","given_name":"Other","attributes":{"{{{code}}}":"a {{{word}}}"}}
                """), ""),
            (Json($$$"""
                {"name":"Zoë","nr":{{{value}}}}
                {"Code":"A {{{word}}}","Name":"Zoë"}
                {"Name":"Other","Nr":"{{{value}}}3"}
                {"Name":"Other","Code":"A {{{word}}}3"}
                """), $"?mapping={mapping}"),
            (Workbook(TestWorkbook.Of(
                TestWorkbook.Header("Name", "Nr", "Code"),
                TestWorkbook.Row(TestWorkbook.Text("A2", "Zoë"), TestWorkbook.Number("B2", $"{value}")),
                TestWorkbook.Row(TestWorkbook.Text("A3", "Zoë"), TestWorkbook.Text("C3", $"A {word}")),
                TestWorkbook.Row(TestWorkbook.Text("A4", "Other"), TestWorkbook.Number("B4", $"{value}4")),
                TestWorkbook.Row(TestWorkbook.Text("A5", "Other"), TestWorkbook.Text("C5", $"A {word}4")))), $"?mapping={mapping}"));
        Assert.All(outcomes, o => Assert.Equal(["failed", "failed", "created", "created"], o));

        async Task<string> UniqueFieldAsync(string type)
        {
            var field = await OkAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"u{{Unique()}}","label":"L","type":"{{type}}","unique":true}""");
            await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/custom-fields/{field["id"]}")).Body, f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
            return (string)field["name"]!;
        }
    }

    /// <summary>What becomes of the rows of files that wait while the customer is erased.</summary>
    private async Task<IReadOnlyList<IReadOnlyList<string?>>> OutcomesAsync(string customer, params (HttpContent Content, string Query)[] files)
    {
        var paths = new List<string>();
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (await connection.BeginTransactionAsync(Ct))
        {
            // All imports wait for it.
            await using var hold = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('custom fields', 0))", connection);
            await hold.ExecuteNonQueryAsync(Ct);
            foreach (var (content, query) in files)
            {
                var (accepted, answer) = await PostAsync($"/v1/imports{query}", content);
                Assert.True(accepted.StatusCode == HttpStatusCode.Accepted, answer.ToJsonString());
                paths.Add(accepted.Headers.Location!.ToString());
            }

            await OkAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", ("If-Match", "*"));
        }

        var outcomes = new List<IReadOnlyList<string?>>();
        foreach (var path in paths)
        {
            await UntilAsync(path, "completed");
            var (_, results) = await SendAsync(HttpMethod.Get, $"{path}/results");
            outcomes.Add([.. results["data"]!.AsArray().Select(r => (string?)r!["outcome"])]);
        }

        return outcomes;
    }

    [Fact]
    public async Task A_dry_run_says_what_would_happen_and_changes_nothing()
    {
        var system = $"d{Unique()}";
        await CreateAsync($$$"""{"kind":"person","given_name":"Here","external_ids":[{"system":"{{{system}}}","id":"1"}],"source":{"type":"enquiry"}}""");
        var csv = $"given_name,external_id.{system},birth_date\nThere,1,\nNew,2,1990-01-02\nBad,3,yesterday\n,4,\n";
        var import = await ImportAsync(csv, "text/csv", "dry_run=true&mapping=" + await SaveMappingAsync($$$"""{"fields":{"given_name":"given_name","external_id.{{{system}}}":"external_id.{{{system}}}","birth_date":"birth_date"},"defaults":{"kind":"person"}}"""));
        Assert.Equal((1, 1, 2), Counts(import, "created", "updated", "failed"));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed");
        Assert.Equal("3 /birth_date,4 /given_name", string.Join(',', results["data"]!.AsArray().Select(r => $"{r!["row"]} {r["errors"]![0]!["pointer"]}")));
        Assert.Single(await SnapshotAsync(system));
        var (read, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1");
        Assert.Equal(("Here", "\"1\""), ((string?)customer["given_name"], read.Headers.ETag!.Tag));
        var (undo, problem) = await SendAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        AssertProblem(undo, problem, 409, "conflict");
    }

    [Fact]
    public async Task A_dry_run_keeps_nothing_of_whom_its_rows_would_make_or_change()
    {
        var (mail, known) = (NewEmail(), NewEmail());
        await CreatePersonAsync(email: known);
        var import = await ImportAsync($$"""
            {"kind":"person","given_name":"New","emails":[{"address":"{{mail}}"}]}
            {"kind":"person","emails":[{"address":"{{mail}}"}],"phones":[{"number":"+442079460001"}]}
            {"kind":"person","emails":[{"address":"{{known}}"}],"phones":[{"number":"+442079460001"}]}
            """, query: "dry_run=true&match_on=email");
        Assert.Equal((1, 2, 0), Counts(import, "created", "updated", "failed"));
        foreach (var table in (string[])["import_results", "import_rows", "import_drafts", "import_draft_keys"])
        {
            Assert.Equal((0L, 0L), (await CountAsync(table, mail), await CountAsync(table, known)));
        }
    }

    [Fact]
    public async Task A_dry_run_of_several_batches_says_what_the_import_then_does()
    {
        var (system, mail) = ($"e{Unique()}", NewEmail());
        var there = await CreateAsync($$$"""{"kind":"person","given_name":"Here","external_ids":[{"system":"{{{system}}}-crm","id":"here"}],"source":{"type":"enquiry"}}""");
        var rows = Lines(4400, i => $$"""{"kind":"person","given_name":"P{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}""") + "\n"
            + $$"""{"kind":"person","given_name":"Here","emails":[{"address":"{{mail}}"}],"external_ids":[{"system":"{{system}}-crm","id":"here"}]}""" + "\n"
            // The file's own first rows again, half of them with another name; then the one who was there, by the address that the file brought.
            + Lines(100, i => $$"""{"kind":"person","given_name":"{{(i < 50 ? "P" : "Q")}}{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}""") + "\n"
            + Lines(2000, i => $$"""{"kind":"person","given_name":"R{{i}}"}""") + "\n"
            + $$"""{"kind":"person","given_name":"Here","emails":[{"address":"{{mail}}"}]}""" + "\n"
            + $$"""{"kind":"person","emails":[{"address":"{{mail}}"}],"external_ids":[{"system":"{{system}}","id":"7"}]}""";
        var dry = await ImportAsync(rows, query: "dry_run=true&match_on=email,external_id");
        Assert.Equal((6400, 51, 51), Counts(dry, "created", "updated", "unchanged"));
        var (_, failed) = await SendAsync(HttpMethod.Get, $"/v1/imports/{dry["id"]}/results?outcome=failed");
        Assert.Equal("6503 already_exists", string.Join(',', failed["data"]!.AsArray().Select(r => $"{r!["row"]} {r["code"]}")));
        // Who is named is somebody who is there.
        var (_, updated) = await SendAsync(HttpMethod.Get, $"/v1/imports/{dry["id"]}/results?outcome=updated&limit=100");
        Assert.Equal([(string?)there["id"]], updated["data"]!.AsArray().Select(r => (string?)r!["customer_id"]).Where(id => id is not null));
        Assert.Empty(await SnapshotAsync(system));
        Assert.Single(await SnapshotAsync($"{system}-crm"));
        await using (var database = await Fixture.DatabaseAsync("contacts"))
        await using (var left = database.CreateCommand("SELECT (SELECT count(*) FROM import_drafts) + (SELECT count(*) FROM import_draft_keys)"))
        {
            Assert.Equal(0L, await left.ExecuteScalarAsync(Ct));
        }

        var import = await ImportAsync(rows, query: "match_on=email,external_id");
        Assert.Equal((6400, 51, 51), Counts(import, "created", "updated", "unchanged"));
        Assert.Equal(1, (int)import["failed"]!);
    }

    [Fact]
    public async Task What_others_change_while_an_import_runs_is_kept_beside_what_it_brings()
    {
        var system = $"w{Unique()}";
        await ImportAsync(Lines(4000, i => $$"""{"kind":"person","given_name":"Old{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        var (accepted, _) = await PostAsync("/v1/imports", Lines(4000, i => $$"""{"kind":"person","given_name":"New{{i}}","external_ids":[{"system":"{{system}}","id":"{{i}}"}]}"""));
        var edited = new List<string>();
        foreach (var i in Enumerable.Range(0, 40).Select(n => 3999 - (100 * n)))
        {
            HttpResponseMessage answer;
            do
            {
                var (read, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/{i}");
                (answer, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"department":"sales"}""", ("If-Match", read.Headers.ETag!.Tag));
            }
            while (answer.StatusCode is HttpStatusCode.PreconditionFailed or HttpStatusCode.Conflict);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            edited.Add(i.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        var done = await UntilAsync(accepted.Headers.Location!.ToString(), "completed");
        Assert.Equal((4000, 0, 0), Counts(done, "updated", "created", "failed"));
        var now = await SnapshotAsync(system);
        Assert.All(edited, i => Assert.True(now[i].Contains($"New{i}", StringComparison.Ordinal) && now[i].Contains("\"department\": \"sales\"", StringComparison.Ordinal), now[i]));
    }

    [Fact]
    public async Task A_row_finds_who_has_its_address_when_it_is_written_and_not_who_had_it_a_moment_before()
    {
        var (own, passed, given) = (NewEmail(), NewEmail(), NewEmail());
        var ada = await CreateAsync($$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{own}}}"},{"address":"{{{passed}}}"},{"address":"{{{given}}}"}],"source":{"type":"enquiry"}}""");
        var bob = await CreatePersonAsync("Bob", "Hill");
        await using var database = await Fixture.DatabaseAsync("contacts");
        Task<(HttpResponseMessage Response, JsonNode Body)> change;
        HttpResponseMessage accepted;
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (var transaction = await connection.BeginTransactionAsync(Ct))
        {
            await using var hold = new NpgsqlCommand("SELECT id FROM customers WHERE id = $1 FOR UPDATE", connection, transaction);
            hold.Parameters.AddWithValue(Ids.Customer.Parse((string)ada["id"]!));
            await hold.ExecuteScalarAsync(Ct);
            // The change waits for the customer, and behind it the import, which has found her by what she gives up.
            change = SendAsync(HttpMethod.Patch, $"/v1/customers/{ada["id"]}", $$"""{"emails":[{"address":"{{own}}"}]}""", ("If-Match", "*"));
            await WaitingAsync("%SELECT FROM customers WHERE id = %FOR UPDATE%");
            (accepted, _) = await PostAsync("/v1/imports?match_on=email", $$"""
                {"kind":"person","given_name":"Bob","emails":[{"address":"{{passed}}"}],"tags":["imported"]}
                {"kind":"person","given_name":"Cy","emails":[{"address":"{{given}}"}]}
                """);
            await WaitingAsync("%FOR NO KEY UPDATE%");
            await OkAsync(HttpMethod.Patch, $"/v1/customers/{bob["id"]}", $$"""{"emails":[{"address":"{{passed}}"}]}""", ("If-Match", "*"));
        }

        Assert.Equal(HttpStatusCode.OK, (await change).Response.StatusCode);
        await UntilAsync(accepted.Headers.Location!.ToString(), "completed");
        var (_, results) = await SendAsync(HttpMethod.Get, $"{accepted.Headers.Location}/results");
        Assert.Equal(["updated", "created"], results["data"]!.AsArray().Select(r => (string?)r!["outcome"]));
        Assert.Equal((string?)bob["id"], (string?)results["data"]![0]!["customer_id"]);
        var (_, now) = await SendAsync(HttpMethod.Get, $"/v1/customers/{ada["id"]}");
        Assert.Equal(("Ada", own), ((string?)now["given_name"], string.Join(' ', now["emails"]!.AsArray().Select(e => (string?)e!["address"]))));

        Task WaitingAsync(string query) => Eventually.GetAsync(
            async () =>
            {
                await using var waiting = database.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1");
                waiting.Parameters.AddWithValue(query);
                return (long)(await waiting.ExecuteScalarAsync(Ct))!;
            },
            count => count > 0, TimeSpan.FromMinutes(1), Ct);
    }

    [Fact]
    public async Task Nobody_who_was_erased_or_removed_becomes_a_referrer_by_an_import()
    {
        var system = $"r{Unique()}";
        var (erased, here) = (await CreatePersonAsync(), await CreatePersonAsync());
        var known = $$$"""{"kind":"person","given_name":"Known","source":{"type":"referral","referrer_id":"{{{erased["id"]}}}"},"external_ids":[{"system":"{{{system}}}","id":"known"}]}""";
        await CreateAsync(known);
        var made = await ImportAsync($$"""{"kind":"person","given_name":"Gone","external_ids":[{"system":"{{system}}","id":"gone"}]}""");
        var (_, gone) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/gone");
        await OkAsync(HttpMethod.Post, $"/v1/imports/{made["id"]}/undo", "{}");
        Assert.Equal(1, (int)(await UntilAsync($"/v1/imports/{made["id"]}", "undone"))["undo"]!["removed"]!);
        await OkAsync(HttpMethod.Post, $"/v1/customers/{erased["id"]}/erasures", """{"reason":"Asked for"}""", ("If-Match", "*"));

        var import = await ImportAsync(string.Join('\n',
            Referred(erased["id"]), Referred(gone["id"]), Referred(here["id"]),
            // Who has the referrer already keeps him.
            known));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(
            "failed unknown_customer /source/referrer_id,failed unknown_customer /source/referrer_id,created  ,unchanged  ",
            string.Join(',', results["data"]!.AsArray().Select(r => $"{r!["outcome"]} {r["code"]} {r["errors"]?[0]?["pointer"]}")));

        static string Referred(JsonNode? by) => $$$"""{"kind":"person","given_name":"New","source":{"type":"referral","referrer_id":"{{{by}}}"}}""";
    }

    [Theory]
    [InlineData("dry_run=true")]
    [InlineData("dry_run=false")]
    public async Task Nobody_refers_themselves_by_an_import_nor_does_whom_they_absorbed_though_two_may_name_each_other(string query)
    {
        var system = $"r{Unique()}";
        var (ada, bob, absorbed) = (await PersonAsync("ada"), await PersonAsync("bob"), await PersonAsync("absorbed"));
        await using (var database = await Fixture.DatabaseAsync("contacts"))
        {
            await using var merge = database.CreateCommand("UPDATE customers SET state = 'merged', survivor_id = $1 WHERE id = $2");
            merge.Parameters.AddWithValue(Ids.Customer.Parse(ada));
            merge.Parameters.AddWithValue(Ids.Customer.Parse(absorbed));
            Assert.Equal(1, await merge.ExecuteNonQueryAsync(Ct));
        }

        var import = await ImportAsync(string.Join('\n', Referred("ada", ada), Referred("ada", absorbed), Referred("ada", bob), Referred("bob", ada)), query: query);
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(
            "failed unprocessable /source/referrer_id same_customer,failed unprocessable /source/referrer_id same_customer,unchanged   ,unchanged   ",
            string.Join(',', results["data"]!.AsArray().Select(r => $"{r!["outcome"]} {r["code"]} {r["errors"]?[0]?["pointer"]} {r["errors"]?[0]?["code"]}")));

        async Task<string> PersonAsync(string id) => (string)(await CreateAsync(
            $$$"""{"kind":"person","given_name":"{{{id}}}{{{system}}}","source":{"type":"enquiry"},"external_ids":[{"system":"{{{system}}}","id":"{{{id}}}"}]}"""))["id"]!;

        string Referred(string id, string by) =>
            $$$"""{"kind":"person","source":{"type":"referral","referrer_id":"{{{by}}}"},"external_ids":[{"system":"{{{system}}}","id":"{{{id}}}"}]}""";
    }

    [Fact]
    public async Task Rows_find_their_customer_by_the_strongest_key_and_only_add_to_what_is_there()
    {
        var (system, mail, phone) = ($"m{Unique()}", NewEmail(), $"+44{Random.Shared.NextInt64(1_000_000_000, 9_999_999_999)}");
        var ada = await CreateAsync($$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{mail}}}","type":"home"}],"source":{"type":"referral"},"attributes":{"a":"1"}}""");
        await CreateAsync($$$"""{"kind":"person","given_name":"Bob","phones":[{"number":"{{{phone}}}"}],"source":{"type":"enquiry"}}""");
        await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=family", $$$"""{"kind":"person","given_name":"Eve","phones":[{"number":"{{{phone}}}"}],"source":{"type":"enquiry"}}""");
        var csv = $"\uFEFFemail;phone;external_id.{system};given_name;attributes.b;kind\r\n"
            + $"\"{mail.ToUpperInvariant()}\";+442079460000;7;\"Ada;\"\"A.\"\"\r\nLovelace\";2;person\r\n" // found by e-mail; a cell of two lines, which a name cannot be
            + $"{mail};+442079460000;7;Ada;2;person\r\n" // found by e-mail
            + $";;7;Ada;2;person\r\n" // found by the external id that the row before brought
            + $";{phone};;Who;;person\r\n" // two have it
            + $"new-{mail};;8;Dora;;person\r\n";
        var import = await ImportAsync(csv, "text/csv", "match_on=external_id,email,phone");
        Assert.Equal((1, 1, 1), Counts(import, "created", "updated", "unchanged"));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(
            "1 failed validation_failed /given_name,2 updated  ,3 unchanged  ,4 failed conflict /phones,5 created  ",
            string.Join(',', results["data"]!.AsArray().Select(r => $"{r!["row"]} {r["outcome"]} {r["code"]} {r["errors"]?[0]?["pointer"]}")));
        var (_, now) = await SendAsync(HttpMethod.Get, $"/v1/customers/{ada["id"]}");
        Assert.Equal($"{mail} home", string.Join(' ', now["emails"]!.AsArray().Select(e => $"{e!["address"]} {e["type"]}")));
        Assert.Equal(("+442079460000", "referral", "1", "2"), ((string?)now["phones"]![0]!["number"], (string?)now["source"]!["type"], (string?)now["attributes"]!["a"], (string?)now["attributes"]!["b"]));
        var (_, dora) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/8");
        Assert.Equal("import", (string?)dora["source"]!["type"]);
    }

    [Theory]
    [InlineData("Name, Vorname", "\"E-Mail\"")]
    [InlineData("Name\nVorname", "\"E-Mail\"")]
    [InlineData("Name", "\"Mail, work\"")]
    [InlineData("The \"\"name\"\", of the family", "Mail 5\"")]
    public async Task What_stands_between_cells_is_found_out_beside_quotation_marks(string name, string mail)
    {
        var address = NewEmail();
        var mapping = await SaveMappingAsync(new JsonObject
        {
            ["fields"] = new JsonObject { [name.Replace("\"\"", "\"", StringComparison.Ordinal)] = "family_name", [mail.StartsWith('"') ? mail.Trim('"') : mail] = "email" },
            ["defaults"] = new JsonObject { ["kind"] = "person" },
        }.ToJsonString());
        var import = await ImportAsync($"\"{name}\";{mail}\r\n\"Byron, Ada\";{address}\r\n", "text/csv", $"mapping={mapping}");
        Assert.Equal((1, 1, 0), Counts(import, "total", "created", "failed"));
        var (_, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?email={address}");
        Assert.Equal("Byron, Ada", (string?)Assert.Single(found["data"]!.AsArray())!["family_name"]);
    }

    [Theory]
    [InlineData("\uFEFFsep=;\r\n", ';')]
    [InlineData("SEP=^\n", '^')]
    [InlineData("sep=\t\r", '\t')]
    [InlineData("", ',')]
    public async Task The_line_that_tells_Excel_the_delimiter_and_rows_of_nothing_but_delimiters_are_no_rows(string first, char delimiter)
    {
        var system = $"t{Unique()}";
        // Without the first line the header alone would say another delimiter.
        var file = $"external_id.{system}#given_name#attributes.a|b|c|d|e#kind\r\n1#Ada#x#person\r\n###\r\n \r\n\"\"#\" \"##\r\n2#Bea#y#person\r\n###";
        var mapping = await SaveMappingAsync($$$"""{"fields":{"external_id.{{{system}}}":"external_id.{{{system}}}","given_name":"given_name","kind":"kind"}}""");
        var body = (first.Length > 0 ? file : file.Replace("|", "", StringComparison.Ordinal)).Replace('#', delimiter);
        var import = await ImportAsync(first + body, "text/csv", $"mapping={mapping}");
        Assert.Equal((2, 2, 0), Counts(import, "total", "created", "failed"));
        Assert.Equal("Bea", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/2")).Body["given_name"]);
    }

    public static TheoryData<string, string, string> Exports => new()
    {
        { "hubspot", "Record ID,First Name,Last Name,Email,Phone Number,Lifecycle Stage,City,Country/Region,Company Name,Create Date\n{0},Ada,Byron,{0}@example.com,+44 20 7946 0000,Customer,London,United Kingdom,Acme,2026-01-01 10:00\n", "active_buyer" },
        { "salesforce", "\"Id\",\"FirstName\",\"LastName\",\"Email\",\"MobilePhone\",\"MailingStreet\",\"MailingCity\",\"MailingCountry\",\"LeadSource\",\"Birthdate\"\n\"{0}\",\"Ada\",\"Byron\",\"{0}@example.com\",\"+44 20 7946 0000\",\"12 St James's Sq\nFlat 1\",\"London\",\"UK\",\"Web\",\"1815-12-10\"\n", "prospect" },
        { "espocrm", "id,firstName,lastName,emailAddress,phoneNumber,addressCity,addressCountry,accountName\n{0},Ada,Byron,{0}@example.com,'+44 20 7946 0000,London,GB,Acme\n", "prospect" },
        { "suitecrm", "\"First Name\",\"Last Name\",\"ID\",\"Office Phone\",\"Email Address\",\"Primary Address City\",\"Primary Address Country\",\"Lead Source\"\n\"Ada\",\"Byron\",\"{0}\",\"+44 20 7946 0000\",\"{0}@example.com\",\"London\",\"England\",\"Cold Call\"\n", "prospect" },
    };

    [Theory]
    [MemberData(nameof(Exports))]
    public async Task An_export_of_another_product_comes_in_by_its_ready_mapping(string mapping, string csv, string lifecycle)
    {
        var id = Unique();
        var import = await ImportAsync(csv.Replace("{0}", id, StringComparison.Ordinal), "text/csv", $"mapping={mapping}");
        Assert.True((int)import["created"]! == 1, (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results")).Body.ToJsonString());
        Assert.Equal(mapping == "hubspot" ? ["Create Date"] : [], import["ignored_columns"]!.AsArray().Select(c => (string)c!));
        var (_, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{mapping}/{id}");
        Assert.Equal(("Ada Byron", $"{id}@example.com", "+442079460000", "London", "GB", lifecycle), (
            (string?)customer["display_name"], (string?)customer["emails"]![0]!["address"], (string?)customer["phones"]![0]!["number"],
            (string?)customer["addresses"]![0]!["city"], (string?)customer["addresses"]![0]!["country"], (string?)customer["lifecycle"]));
    }

    [Fact]
    public async Task A_subscriber_of_whom_only_the_mailbox_is_known_comes_in_and_one_of_whom_nothing_is_known_does_not()
    {
        var (known, unknown) = (Unique(), Unique());
        var import = await ImportAsync($"Record ID,First Name,Last Name,Email\n{known},,,{known}@example.com\n{unknown},,,\n", "text/csv", "mapping=hubspot");
        Assert.Equal((1, 1), ((int)import["created"]!, (int)import["failed"]!));
        var (_, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/hubspot/{known}");
        Assert.Equal(("person", "", $"{known}@example.com"), ((string?)customer["kind"], (string?)customer["display_name"], (string?)customer["emails"]![0]!["address"]));
    }

    [Theory]
    [InlineData("salesforce", "Id,LastName,IsDeleted,MasterRecordId", "1,Gone,true,", "2,Merged,1,003000000000001", "3,Here,false,000000000000000AAA")]
    [InlineData("salesforce-accounts", "Id,Name,IsDeleted,MasterRecordId", "1,Gone,1,", "2,Merged,,001000000000001AAA", "3,Here,0,")]
    [InlineData("espocrm", "id,lastName,deleted", "1,Gone,1", "2,Gone,true", "3,Here,0")]
    [InlineData("suitecrm-accounts", "ID,Name,Deleted", "1,Gone,1", "2,Gone,Yes", "3,Here,No")]
    public async Task A_record_that_the_other_product_has_deleted_makes_and_changes_nobody(string mapping, string columns, string first, string second, string third)
    {
        var import = await ImportAsync(string.Join('\n', columns, Own(first), Own(second), Own(third)), "text/csv", $"mapping={mapping}");
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(["failed gone", "failed gone", "created "], results["data"]!.AsArray().Select(r => $"{r!["outcome"]} {r["code"]}"));
        Assert.Empty(import["ignored_columns"]!.AsArray());

        static string Own(string row) => $"{Unique()}{row}";
    }

    [Fact]
    public async Task Every_ready_mapping_names_only_fields_that_there_are()
    {
        var (_, list) = await SendAsync(HttpMethod.Get, "/v1/import-mappings");
        var ready = list["data"]!.AsArray().Where(m => (bool)m!["ready"]!).ToList();
        Assert.True(ready.Count >= 8);
        foreach (var mapping in ready)
        {
            var (saved, body) = await SendAsync(HttpMethod.Put, $"/v1/import-mappings/my-{mapping!["name"]}", mapping["mapping"]!.ToJsonString());
            Assert.True(saved.IsSuccessStatusCode, body.ToJsonString());
        }

        var (taken, problem) = await SendAsync(HttpMethod.Put, "/v1/import-mappings/hubspot", """{"fields":{}}""");
        AssertProblem(taken, problem, 409, "conflict");
        var (bad, why) = await SendAsync(HttpMethod.Put, "/v1/import-mappings/bad", """{"fields":{"x":"colour"}}""");
        AssertProblem(bad, why, 400, "validation_failed", "/fields/x");
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, "/v1/import-mappings/my-hubspot")).Response.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Get, "/v1/import-mappings/my-hubspot")).Response.StatusCode);
    }

    [Fact]
    public async Task Who_sent_an_import_took_it_back_and_changed_a_mapping_is_in_the_audit_log()
    {
        var (system, name) = ($"a{Unique()}", $"m{Unique()}");
        await OkAsync(HttpMethod.Put, $"/v1/import-mappings/{name}", $$$"""{"fields":{"Nr":"external_id.{{{system}}}"},"defaults":{"kind":"person"}}""");
        await OkAsync(HttpMethod.Put, $"/v1/import-mappings/{name}", $$$"""{"fields":{"Nr":"external_id.{{{system}}}","Name":"given_name"},"defaults":{"kind":"person"}}""");
        var import = await ImportAsync("Nr,Name\n1,Ada\n", "text/csv", $"mapping={name}");
        foreach (var _ in (int[])[1, 2])
        {
            await OkAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        }

        await UntilAsync($"/v1/imports/{import["id"]}", "undone");
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, $"/v1/import-mappings/{name}")).Response.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Delete, $"/v1/import-mappings/{name}")).Response.StatusCode);

        await using var database = await Fixture.DatabaseAsync("contacts");
        var imported = await EntriesAsync("e.record_type = 'import' AND e.record_id = $1", Ids.Import.Parse((string)import["id"]!));
        Assert.Equal(["created key_test", "updated key_test"], imported.Select(e => e.What));
        Assert.Equal((name, 1), ((string?)imported[0].Changes["mapping"]!["new"], (int)imported[0].Changes["total"]!["new"]!));
        Assert.Equal(("completed", "undoing"), ((string?)imported[1].Changes["status"]!["old"], (string?)imported[1].Changes["status"]!["new"]));
        var mapped = await EntriesAsync(
            "e.record_type = 'import_mapping' AND e.record_id IN (SELECT x.record_id FROM audit_entry x JOIN audit_value y ON y.entry_id = x.id WHERE strpos(y.changes, $1) > 0)", name);
        Assert.Equal(["created key_test", "updated key_test", "deleted key_test"], mapped.Select(e => e.What));
        Assert.Equal((null, "given_name"), ((string?)mapped[1].Changes["mapping"]!["old"]!["fields"]!["Name"], (string?)mapped[1].Changes["mapping"]!["new"]!["fields"]!["Name"]));
        Assert.Equal("given_name", (string?)mapped[2].Changes["mapping"]!["old"]!["fields"]!["Name"]);

        async Task<List<(string What, JsonNode Changes)>> EntriesAsync<T>(string condition, T value)
        {
            await using var command = database.CreateCommand($"SELECT e.action || ' ' || e.actor, v.changes FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE {condition} ORDER BY e.id");
            command.Parameters.Add(new NpgsqlParameter<T> { TypedValue = value });
            var entries = new List<(string, JsonNode)>();
            await using var reader = await command.ExecuteReaderAsync(Ct);
            while (await reader.ReadAsync(Ct))
            {
                entries.Add((reader.GetString(0), JsonNode.Parse(reader.GetString(1))!));
            }

            return entries;
        }
    }

    [Theory]
    [InlineData("""{"fields":{"Record ID":1}}""", "/fields/Record ID")]
    [InlineData("""{"fields":{"A.b/C":"colour"}}""", "/fields/A.b~1C")]
    [InlineData("""{"fields":{" ":"given_name"}}""", "/fields/ ")]
    [InlineData("""{"defaults":{"colour":"red"}}""", "/defaults/colour")]
    [InlineData("""{"defaults":{"lifecycle":"zzz"}}""", "/defaults/lifecycle")]
    [InlineData("""{"defaults":{"deleted":"1"}}""", "/defaults/deleted")]
    [InlineData("""{"defaults":{"email.work":"nobody"}}""", "/defaults/email.work")]
    [InlineData("""{"values":{"lifecycle":{"Customer":"active_buyer","X":"zzz"}}}""", "/values/lifecycle/X")]
    [InlineData("""{"values":{"lifecycle":null}}""", "/values/lifecycle")]
    [InlineData("""{"values":{"lifecycle":{"x":"lapsed","X":"former"}}}""", "/values/lifecycle")]
    [InlineData("""{"date_format":"%d"}""", "/date_format")]
    [InlineData("""{"calling_code":"44"}""", "/calling_code")]
    public async Task A_mapping_that_no_row_could_come_in_by_is_refused_where_it_is_wrong(string mapping, string pointer)
    {
        var (refused, problem) = await SendAsync(HttpMethod.Put, $"/v1/import-mappings/m{Unique()}", mapping);
        AssertProblem(refused, problem, 400, "validation_failed", pointer);
    }

    [Theory]
    [InlineData("text/csv", "", "", 400, "bad_request")]
    [InlineData("text/csv", "", "given_name\n", 400, "bad_request")]
    [InlineData("text/csv", "", "given_name,kind\n\"Ada", 400, "bad_request")]
    [InlineData("text/csv", "", "a,b\n1,2\n", 422, "unprocessable")]
    [InlineData("text/csv", "", "name,Name\n1,2\n", 422, "unprocessable")]
    [InlineData("application/json", "", "{}", 415, "unsupported_media_type")]
    [InlineData("text/csv", "?mapping=nothing", "name\nx\n", 400, "invalid_parameter")]
    [InlineData("text/csv", "?match_on=name", "name\nx\n", 400, "invalid_parameter")]
    [InlineData("text/csv", "?calling_code=UK", "name\nx\n", 400, "invalid_parameter")]
    [InlineData("text/csv", "?date_format=%25d", "name\nx\n", 400, "invalid_parameter")]
    [InlineData("text/csv", "?colour=red", "name\nx\n", 400, "unknown_parameter")]
    public async Task A_file_that_cannot_be_read_is_refused_whole(string type, string query, string body, int status, string code)
    {
        var (response, problem) = await PostAsync("/v1/imports" + query, body, type);
        AssertProblem(response, problem, status, code);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_a_workbook_the_first_visible_sheet_comes_in_with_numbers_and_dates_as_people_read_them(bool from1904)
    {
        var system = $"x{Unique()}";
        // 1980-05-17 and 2026-01-31 08:30, counted as the workbook counts days.
        var (day, moment) = from1904 ? ("27896", "44591.354166666664") : ("29358", "46053.354166666664");
        var workbook = TestWorkbook.Of(
            from1904,
            TestWorkbook.Header($"external_id.{system}", "kind", "given_name", "family_name", "phone", "birth_date", $"attributes.{system}_seen", $"attributes.{system}_score", $"attributes.{system}_vip", $"attributes.{system}_age"),
            TestWorkbook.Row(
                TestWorkbook.Number("A2", "4711"), TestWorkbook.Text("B2", "person"), TestWorkbook.Shared("C2", TestWorkbook.Ada), TestWorkbook.Shared("D2", TestWorkbook.Byron),
                TestWorkbook.Number("E2", "1.511234567E9"), TestWorkbook.Number("F2", day, TestWorkbook.Day), TestWorkbook.Number("G2", moment, TestWorkbook.Moment),
                TestWorkbook.Number("H2", "0.30000000000000004"), TestWorkbook.True("I2"), TestWorkbook.Number("J2", "45", TestWorkbook.Days)),
            // A row without a text, and one with gaps.
            TestWorkbook.Row(TestWorkbook.Number("A3", "", TestWorkbook.Day), TestWorkbook.Text("F3", " ")),
            TestWorkbook.Row(
                TestWorkbook.Number("A4", "4712"), TestWorkbook.Text("B4", "person"), TestWorkbook.Text("C4", "Bea_x000D_"), TestWorkbook.Text("F4", "18/05/1980"), TestWorkbook.Error("H4")),
            TestWorkbook.Row(TestWorkbook.Number("A5", "4713"), TestWorkbook.Text("K5", "One too many")));
        var (accepted, answer) = await PostWorkbookAsync("/v1/imports?calling_code=%2B49&date_format=dd/MM/yyyy", workbook);
        Assert.True(accepted.StatusCode == HttpStatusCode.Accepted, answer.ToJsonString());
        Assert.Equal("xlsx", (string?)answer["format"]);

        var import = await UntilAsync(accepted.Headers.Location!.ToString(), "completed");
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        Assert.Equal(["1 created ", "2 created ", "3 failed wrong_length"], results["data"]!.AsArray().Select(r => $"{r!["row"]} {r["outcome"]} {r["errors"]?[0]?["code"]}"));
        var (_, ada) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/4711");
        Assert.Equal(("Ada", "Byron", "+491511234567", "1980-05-17"), ((string?)ada["given_name"], (string?)ada["family_name"], (string?)ada["phones"]![0]!["number"], (string?)ada["birth_date"]));
        Assert.Equal(
            ("2026-01-31T08:30:00", "0.3", "true", "45"),
            (Attribute("seen"), Attribute("score"), Attribute("vip"), Attribute("age")));
        var (_, bea) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/4712");
        Assert.Equal(("Bea", "1980-05-18"), ((string?)bea["display_name"], (string?)bea["birth_date"]));

        string? Attribute(string name) => (string?)ada["attributes"]![$"{system}_{name}"];
    }

    [Theory]
    [InlineData("nothing")]
    [InlineData("text")]
    [InlineData("old")]
    [InlineData("zip")]
    [InlineData("torn")]
    [InlineData("empty")]
    [InlineData("no rows")]
    [InlineData("endless cell")]
    public async Task A_file_that_is_no_workbook_with_rows_is_refused_and_nothing_is_stored(string what)
    {
        var workbook = TestWorkbook.Of(TestWorkbook.Header("kind", "given_name"), TestWorkbook.Row(TestWorkbook.Text("A2", "person"), TestWorkbook.Text("B2", "Ada")));
        byte[] file = what switch
        {
            "nothing" => [],
            "text" => Encoding.ASCII.GetBytes("kind,given_name\nperson,Ada\n"),
            "old" => [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, .. new byte[504]],
            "zip" => Zip(),
            "torn" => workbook[..(workbook.Length / 2)],
            "empty" => TestWorkbook.Of(),
            "no rows" => TestWorkbook.Of(TestWorkbook.Header("kind", "given_name")),
            // Some kilobytes, and once unpacked more than is ever read of a cell.
            _ => TestWorkbook.Of(TestWorkbook.Header("kind", "given_name"), TestWorkbook.Row(TestWorkbook.Text("A2", "person"), TestWorkbook.Text("B2", new string('a', 6_000_000)))),
        };
        var before = await StoredAsync();
        var (response, problem) = await PostWorkbookAsync("/v1/imports", file);
        AssertProblem(response, problem, 400, "bad_request");
        Assert.Equal(before, await StoredAsync());

        static byte[] Zip()
        {
            using var stream = new MemoryStream();
            using (var zip = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
            using (var entry = zip.CreateEntry("people.csv").Open())
            {
                entry.Write("kind,given_name\nperson,Ada\n"u8);
            }

            return stream.ToArray();
        }

        async Task<long> StoredAsync()
        {
            await using var database = await Fixture.DatabaseAsync("contacts");
            await using var command = database.CreateCommand("SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_rows)");
            return (long)(await command.ExecuteScalarAsync(Ct))!;
        }
    }

    [Fact]
    public async Task A_workbook_that_is_too_large_or_whose_dates_would_be_others_is_refused()
    {
        var (mistaken, problem) = await PostWorkbookAsync("/v1/imports?date_format=yyyy-dd-MM", TestWorkbook.Of(TestWorkbook.Header("kind")));
        AssertProblem(mistaken, problem, 400, "invalid_parameter", "date_format");

        // Asked first, and so never sent.
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/imports") { Content = new StreamContent(Stream.Null) };
        request.Content.Headers.ContentType = new(TestWorkbook.ContentType);
        request.Content.Headers.ContentLength = 100_000_001;
        request.Headers.ExpectContinue = true;
        using var refused = await Client.SendAsync(request, Ct);
        AssertProblem(refused, JsonNode.Parse(await refused.Content.ReadAsStringAsync(Ct))!, 413, "body_too_large");
    }

    [Fact]
    public async Task The_calling_code_and_the_form_of_dates_of_a_file_are_said_with_it()
    {
        var id = Unique();
        var csv = $"Id,FirstName,Phone,Birthdate\n{id},Ada,(555) 123-4567,05/17/1980\n";
        var bare = await ImportAsync(csv, "text/csv", "mapping=salesforce");
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{bare["id"]}/results");
        var errors = results["data"]![0]!["errors"]!.AsArray();
        Assert.Equal(["/phones/0/number", "/birth_date"], errors.Select(e => (string?)e!["pointer"]));
        Assert.Contains("calling_code", (string?)errors[0]!["detail"], StringComparison.Ordinal);
        Assert.Contains("date_format", (string?)errors[1]!["detail"], StringComparison.Ordinal);

        // A + in a query is a blank.
        var import = await ImportAsync(csv, "text/csv", "mapping=salesforce&calling_code=+1&date_format=MM/dd/yyyy");
        Assert.True((int)import["created"]! == 1, (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results")).Body.ToJsonString());
        var (_, ada) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/salesforce/{id}");
        Assert.Equal(("+15551234567", "1980-05-17"), ((string?)ada["phones"]![0]!["number"], (string?)ada["birth_date"]));

        // They come before the mapping's.
        var mapping = await SaveMappingAsync("""{"fields":{"Id":"external_id.salesforce","Tel":"phone"},"defaults":{"kind":"person"},"calling_code":"+44"}""");
        await ImportAsync($"Id,Tel\n{id},020 7946 0000\n", "text/csv", $"mapping={mapping}&calling_code=%2B33");
        var (_, called) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/salesforce/{id}");
        Assert.Contains(called["phones"]!.AsArray(), p => (string?)p!["number"] == "+332079460000");
    }

    [Theory]
    [InlineData("", "1987-11-23T00:00:00+02:00")]
    [InlineData("", "1987-11-23T23:30:00.5-08:00")]
    [InlineData("", "1987-11-23T00:00:00Z")]
    [InlineData("", "1987-11-23T00:00:00")]
    [InlineData("dd/MM/yyyy HH:mm zzz", "23/11/1987 00:00 +14:00")]
    [InlineData("dd/MM/yyyy HH:mm zzz", "23/11/1987 23:59 -11:00")]
    public async Task A_birth_date_is_the_day_that_is_written_whatever_its_offset_is(string format, string written)
    {
        var system = $"b{Unique()}";
        var import = await ImportAsync($"kind,given_name,birth_date,external_id.{system}\nperson,Ada,{written},1\n", "text/csv", $"date_format={Uri.EscapeDataString(format)}");
        Assert.Equal((1, 1, 0), Counts(import, "total", "created", "failed"));
        Assert.Equal("1987-11-23", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1")).Body["birth_date"]);
    }

    [Theory]
    [InlineData("+44", "442079460000", "+442079460000")]
    [InlineData("+44", "44 (0)20 7946 0000", "+442079460000")]
    [InlineData("+44", "02079460000", "+442079460000")]
    [InlineData("+44", "+44 (0)20 7946 0000", "+442079460000")]
    [InlineData("+33", "0033 (0) 1 23 45 67 89", "+33123456789")]
    [InlineData("+47", "4791234567", "+4791234567")]
    [InlineData("+47", "47123456", "+4747123456")]
    [InlineData("+91", "9198765432", "+919198765432")]
    [InlineData("+91", "919876543210", "+919876543210")]
    [InlineData("+55", "55991234567", "+5555991234567")]
    [InlineData("+1", "15551234567", "+15551234567")]
    [InlineData("+39", "06 698 12345", "+390669812345")]
    [InlineData("+39", "390669812345", "+390669812345")]
    [InlineData("+39", "+39 (0)6 698 12345", "+390669812345")]
    [InlineData("+378", "0549 882914", "+3780549882914")]
    [InlineData("+225", "07 07 12 34 56", "+2250707123456")]
    [InlineData("+225", "2250707123456", "+2250707123456")]
    [InlineData("+225", "+225 (0)7 07 12 34 56", "+2250707123456")]
    [InlineData("+225", "27 20 12 34 56", "+2252720123456")]
    [InlineData("+242", "06 612 34 56", "+242066123456")]
    [InlineData("+242", "242066123456", "+242066123456")]
    [InlineData("+242", "00242 05 512 34 56", "+242055123456")]
    [InlineData("+243", "081 234 5678", "+243812345678")]
    public async Task A_phone_number_gets_its_calling_code_once_and_a_leading_0_stays_only_where_it_belongs_to_the_number(string code, string written, string number)
    {
        var system = $"p{Unique()}";
        var import = await ImportAsync($"kind;given_name;phone;external_id.{system}\nperson;Ada;{written};1\n", "text/csv", $"calling_code={Uri.EscapeDataString(code)}");
        Assert.Equal((1, 1, 0), Counts(import, "total", "created", "failed"));
        var (_, ada) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1");
        Assert.Equal(number, (string?)ada["phones"]![0]!["number"]);
    }

    [Fact]
    public async Task A_row_that_fails_names_all_that_is_wrong_with_it()
    {
        var (system, field) = ($"n{Unique()}", $"f{Unique()}");
        await OkAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{field}}","label":"Size","type":"integer"}""");
        var mapping = await SaveMappingAsync($$$"""{"fields":{"Nr":"external_id.{{{system}}}","Name":"given_name","Mail":"email","Born":"birth_date","Stage":"lifecycle","Size":"attributes.{{{field}}}"},"defaults":{"kind":"person"}}""");
        const string Header = "Nr,Name,Mail,Born,Stage,Size\n";
        await ImportAsync($"{Header}old,Ada,,,,\n", "text/csv", $"mapping={mapping}");
        var import = await ImportAsync($"{Header}new,Bob,no address,yesterday,alien,large\nold,Ada,no address,yesterday,alien,large\n", "text/csv", $"mapping={mapping}");
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results");
        var all = $"/birth_date /attributes/{field} /lifecycle /emails/0/address";
        Assert.Equal([all, all], results["data"]!.AsArray().Select(r => string.Join(' ', r!["errors"]!.AsArray().Select(e => (string?)e!["pointer"]))));
    }

    [Fact]
    public async Task What_is_wrong_with_an_import_is_a_file_in_which_nothing_is_a_formula()
    {
        var field = $"f{Unique()}";
        await OkAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{field}}","label":"=SUM(1,\"2\")","type":"text","applies_to":"organization"}""");
        // More than is read at once.
        var import = await ImportAsync(string.Join('\n',
            """{"kind":"person","given_name":"Good"}""",
            $$$"""{"kind":"person","given_name":"Ada","birth_date":"yesterday","attributes":{"{{{field}}}":"x"}}""",
            Lines(2500, _ => "null")));
        Assert.Equal((2502, 1, 2501), Counts(import, "total", "created", "failed"));
        using var answer = await Client.GetAsync($"/v1/imports/{import["id"]}/problems.csv", Ct);
        Assert.Equal(("text/csv", $"{import["id"]}-problems.csv"), (answer.Content.Headers.ContentType?.MediaType, answer.Content.Headers.ContentDisposition?.FileName?.Trim('"')));
        var lines = (await answer.Content.ReadAsStringAsync(Ct)).Split("\r\n");
        Assert.Equal(("row,code,pointer,message", ""), (lines[0], lines[^1]));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed&limit=1");
        var errors = results["data"]![0]!["errors"]!.AsArray();
        Assert.Equal(["/birth_date", $"/attributes/{field}"], errors.Select(e => (string?)e!["pointer"]));
        Assert.Equal(
            [$"2,\"{errors[0]!["code"]}\",\"/birth_date\",\"{errors[0]!["detail"]}\"", $"2,\"not_allowed\",\"/attributes/{field}\",\"'=SUM(1,\"\"2\"\") is not a field of a person.\""],
            lines.Skip(1).Take(2));
        Assert.Equal(Enumerable.Range(3, 2500).Select(row => $"{row},\"wrong_type\",\"\",\"A row is an object.\""), lines.Skip(3).SkipLast(1));
        var (missing, problem) = await SendAsync(HttpMethod.Get, $"/v1/imports/{Ids.Import.Format(Guid.NewGuid())}/problems.csv");
        AssertProblem(missing, problem, 404, "not_found");
    }

    [Theory]
    [InlineData("iso-8859-1", "José", new byte[] { 0x4A, 0x6F, 0x73, 0xE9 })]
    [InlineData("Windows-1252", "Zoë €", new byte[] { 0x5A, 0x6F, 0xEB, 0x20, 0x80 })]
    [InlineData("\"utf-8\"", "José", new byte[] { 0x4A, 0x6F, 0x73, 0xC3, 0xA9 })]
    public async Task A_file_is_read_in_the_charset_that_it_is_sent_with(string charset, string name, byte[] bytes)
    {
        var system = $"l{Unique()}";
        using var file = new ByteArrayContent([.. Encoding.ASCII.GetBytes($"kind,external_id.{system},given_name\nperson,1,"), .. bytes]);
        file.Headers.Add("Content-Type", $"text/csv; charset={charset}");
        using var accepted = await Client.PostAsync("/v1/imports", file, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        await UntilAsync(accepted.Headers.Location!.ToString(), "completed");
        Assert.Equal(name, (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/1")).Body["given_name"]);
    }

    [Theory]
    [InlineData("text/csv; charset=klingon", false, 415)]
    [InlineData("text/csv; charset=us-ascii", false, 400)]
    [InlineData("text/csv", true, 400)]
    public async Task A_file_is_refused_that_is_no_text_of_its_charset(string type, bool marked, int status)
    {
        using var file = new ByteArrayContent([.. marked ? "\uFEFF"u8 : ""u8, .. "kind,given_name\nperson,Jos"u8, 0xE9]);
        file.Headers.Add("Content-Type", type);
        using var refused = await Client.PostAsync("/v1/imports", file, Ct);
        Assert.Equal(status, (int)refused.StatusCode);
    }

    [Fact]
    public async Task Bytes_that_are_no_text_are_refused_and_rows_that_are_no_customers_fail_alone()
    {
        using var latin = new ByteArrayContent([.. "name\nJos"u8, 0xE9, .. "\n"u8]);
        latin.Headers.ContentType = new("text/csv");
        using var refused = await Client.PostAsync("/v1/imports", latin, Ct);
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);

        string[] lines =
        [
            "{", "[]", "null", "7", """{"kind":"person"}""", """{"kind":"person","given_name":"A\u0000"}""", """{"kind":"person","given_name":"A","emails":[{"address":"x\u0000@example.com"}]}""",
            """{"kind":"person","given_name":"\ud800"}""", """{"kind":"person","given_name":"A","emails":"none"}""", """{"kind":"person","given_name":"A","emails":[null]}""",
            """{"kind":"person","given_name":"A","source":{"type":"referral","referrer_id":"cus_00000000000000000000000000"}}""", """{"kind":"person","given_name":"A","colour":"red"}""",
            """{"kind":"person","given_name":"Good"}""",
        ];
        var import = await ImportAsync(string.Join('\n', lines));
        Assert.True((1, lines.Length - 1) == ((int)import["created"]!, (int)import["failed"]!), (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results")).Body.ToJsonString());
    }

    private static string Lines(int count, Func<int, string> line) => string.Join('\n', Enumerable.Range(0, count).Select(line));

    private static (int, int, int) Counts(JsonNode node, string a, string b, string c) => ((int)node[a]!, (int)node[b]!, (int)node[c]!);

    private async Task<(HttpResponseMessage Response, JsonNode Body)> PostAsync(string path, string body, string type = "application/x-ndjson")
    {
        using var content = new StringContent(body, Encoding.UTF8, type);
        return await PostAsync(path, content);
    }

    private static StringContent Csv(string body) => new(body, Encoding.UTF8, "text/csv");

    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/x-ndjson");

    private static ByteArrayContent Workbook(byte[] workbook)
    {
        var content = new ByteArrayContent(workbook);
        content.Headers.ContentType = new(TestWorkbook.ContentType);
        return content;
    }

    private async Task<(HttpResponseMessage Response, JsonNode Body)> PostWorkbookAsync(string path, byte[] workbook)
    {
        using var content = Workbook(workbook);
        return await PostAsync(path, content);
    }

    private async Task<(HttpResponseMessage Response, JsonNode Body)> PostAsync(string path, HttpContent content)
    {
        var response = await Client.PostAsync(path, content, Ct);
        return (response, JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!);
    }

    /// <summary>The import when it is done.</summary>
    private async Task<JsonNode> ImportAsync(string body, string type = "application/x-ndjson", string query = "")
    {
        var (response, answer) = await PostAsync($"/v1/imports?{query}", body, type);
        Assert.True(response.StatusCode == HttpStatusCode.Accepted, answer.ToJsonString());
        return await UntilAsync($"/v1/imports/{answer["id"]}", "completed");
    }

    /// <summary>Rows that have the text in any column.</summary>
    private async Task<long> CountAsync(string table, string text)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var command = database.CreateCommand($"SELECT count(*) FROM {table} AS r WHERE strpos(lower(to_jsonb(r)::text), lower($1)) > 0");
        command.Parameters.AddWithValue(text);
        return (long)(await command.ExecuteScalarAsync(Ct))!;
    }

    private async Task<JsonNode> OkAsync(HttpMethod method, string path, string json, params (string Name, string Value)[] headers)
    {
        var (response, body) = await SendAsync(method, path, json, headers);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }

    private Task<JsonNode> UntilAsync(string path, string status) => Eventually.GetAsync(
        async () => (await SendAsync(HttpMethod.Get, path)).Body, i => (string?)i["status"] == status, TimeSpan.FromMinutes(2), Ct);

    private async Task<string> SaveMappingAsync(string json)
    {
        var name = $"m{Unique()}";
        var (saved, body) = await SendAsync(HttpMethod.Put, $"/v1/import-mappings/{name}", json);
        Assert.True(saved.IsSuccessStatusCode, body.ToJsonString());
        return name;
    }

    /// <summary>Everything that a customer has, by its id in this system; the version, the times and the events' counter aside.</summary>
    private async Task<Dictionary<string, string>> SnapshotAsync(string system)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var command = database.CreateCommand("""
            SELECT e.external_id, (to_jsonb(c) - 'version' - 'updated_at' - 'event_sequence')::text
                   || (SELECT coalesce(string_agg(i.kind || i.value, ',' ORDER BY i.kind, i.value), '') FROM customer_identifiers i WHERE i.customer_id = c.id)
                   || (SELECT string_agg(x.system || x.external_id, ',' ORDER BY x.system, x.external_id) FROM external_ids x WHERE x.customer_id = c.id)
            FROM external_ids e JOIN customers c ON c.id = e.customer_id WHERE e.system = $1
            """);
        command.Parameters.AddWithValue(system);
        var found = new Dictionary<string, string>();
        await using var reader = await command.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            found.Add(reader.GetString(0), reader.GetString(1));
        }

        return found;
    }
}
