using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Testing;
using Npgsql;

namespace Contacts.Tests;

/// <summary>Fields of which no two customers have the same value.</summary>
[Collection(nameof(CustomFieldTests))]
public sealed class UniqueFieldTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Theory]
    [InlineData("text", "\"A-1\"", "\"a-1\"")]
    [InlineData("integer", "4711", "4712")]
    [InlineData("url", "\"https://example.com/1\"", "\"https://example.com/2\"")]
    public async Task Of_fifty_who_take_a_value_at_once_one_has_it_and_the_others_are_told_whose_it_is(string type, string value, string another)
    {
        var name = await ReadyAsync(type);
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => TakeAsync()));
        var winner = Assert.Single(answers, a => a.Response.StatusCode == HttpStatusCode.Created).Body;
        foreach (var (response, body) in answers.Where(a => a.Response.StatusCode != HttpStatusCode.Created))
        {
            AssertProblem(response, body, 409, "value_taken", $"/attributes/{name}");
            Assert.Equal((string?)winner["id"], (string?)body["existing_id"]);
        }

        var other = await CreateAsync(Person(name, another));
        var (patched, taken) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{other["id"]}", Attribute(name, value), ("If-Match", "*"));
        AssertProblem(patched, taken, 409, "value_taken", $"/attributes/{name}");
        var (put, neither) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/unique/{Unique()}", Person(name, value));
        AssertProblem(put, neither, 409, "value_taken", $"/attributes/{name}");
        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, $"/v1/customers/{other["id"]}")).Body["version"]!);

        // In the recycle bin it is kept; given up it is free.
        await SendAsync(HttpMethod.Delete, $"/v1/customers/{winner["id"]}", null, ("If-Match", "*"));
        var (still, binned) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{other["id"]}", Attribute(name, value), ("If-Match", "*"));
        AssertProblem(still, binned, 409, "value_taken", $"/attributes/{name}");
        var (back, restored) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{winner["id"]}/restore", "{}", ("If-Match", "*"));
        Assert.True(back.IsSuccessStatusCode, restored.ToJsonString());
        await SendAsync(HttpMethod.Patch, $"/v1/customers/{winner["id"]}", Attribute(name, "null"), ("If-Match", "*"));
        var (free, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{other["id"]}", Attribute(name, value), ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.OK, free.StatusCode);

        // A machine that is too busy to answer in time says so, and is asked again.
        async Task<(HttpResponseMessage Response, JsonNode Body)> TakeAsync()
        {
            while (true)
            {
                var answer = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, value));
                if (answer.Response.StatusCode != HttpStatusCode.ServiceUnavailable)
                {
                    return answer;
                }
            }
        }
    }

    [Fact]
    public async Task A_whole_number_that_another_customer_has_is_taken_however_it_is_written()
    {
        var name = await ReadyAsync("integer");
        await CreateAsync(Person(name, "5"));
        foreach (var five in new[] { "5.0", "0.5e1", $"5.{new string('0', 90)}" })
        {
            var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, five));
            AssertProblem(response, problem, 409, "value_taken", $"/attributes/{name}");
        }

        var (refused, unfit) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, $"5.{new string('0', 100)}"));
        AssertProblem(refused, unfit, 400, "validation_failed", $"/attributes/{name}");
    }

    [Fact]
    public async Task A_field_whose_values_several_customers_share_is_not_made_unique_and_is_once_they_differ()
    {
        var name = $"f{Unique()}";
        var (_, field) = await SendAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{name}}","label":"L","type":"text"}""");
        var path = $"/v1/custom-fields/{field["id"]}";
        var ids = new List<string?>();
        foreach (var value in new[] { "a", "a", "a", "b", "b", "c" })
        {
            ids.Add((string?)(await CreateAsync(Person(name, $"\"{value}\"")))["id"]);
        }

        var (refused, problem) = await SendAsync(HttpMethod.Patch, path, """{"unique":true}""", ("If-Match", "*"));
        AssertProblem(refused, problem, 409, "conflict", "/unique");
        Assert.Equal((2, 5), ((int)problem["values"]!, (int)problem["customers"]!));
        Assert.Equal((1, false), ((int)(await SendAsync(HttpMethod.Get, path)).Body["version"]!, (bool)(await SendAsync(HttpMethod.Get, path)).Body["unique"]!));

        foreach (var id in new[] { ids[0], ids[1], ids[3] })
        {
            await SendAsync(HttpMethod.Patch, $"/v1/customers/{id}", Attribute(name, $"\"{id}\""), ("If-Match", "*"));
        }

        var (made, now) = await SendAsync(HttpMethod.Patch, path, """{"unique":true}""", ("If-Match", "*"));
        Assert.Equal((HttpStatusCode.OK, "building"), (made.StatusCode, (string?)now["uniqueness"]));
        await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, path)).Body, f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
        var (long_, tooLong) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, $"\"{new string('x', 501)}\""));
        AssertProblem(long_, tooLong, 400, "validation_failed", $"/attributes/{name}");

        // Not unique any more: the index goes, and with it what it forbade.
        var (loosened, _) = await SendAsync(HttpMethod.Patch, path, """{"unique":false}""", ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.OK, loosened.StatusCode);
        await using var database = await Fixture.DatabaseAsync("contacts");
        await Eventually.GetAsync(CountIndexesAsync, indexes => indexes == 0, ct: Ct);
        await CreateAsync(Person(name, "\"c\""));

        async Task<long> CountIndexesAsync()
        {
            try
            {
                return await CountAsync(database, $"SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'customers_unique_%' AND indexdef LIKE '%{name}%'");
            }
            // The definition of an index that goes at this moment cannot be read.
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InternalError)
            {
                return -1;
            }
        }
    }

    [Fact]
    public async Task An_upsert_finds_its_customer_by_a_unique_field_and_of_fifty_at_once_one_creates()
    {
        var name = await ReadyAsync("text");
        var path = $"/v1/customers/by-attribute?name={name}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => SendAsync(HttpMethod.Put, path, Person(name, "\"member-1\""))));
        Assert.Single(answers, a => (string?)a.Body["result"] == "created");
        var id = Assert.Single(answers.Select(a => (string?)a.Body["id"]).Distinct());
        var (same, _) = await SendAsync(HttpMethod.Put, path, $$$"""{"tier":"gold","attributes":{"{{{name}}}":"member-1"}}""");
        Assert.Equal(HttpStatusCode.OK, same.StatusCode);
        var (_, unchanged) = await SendAsync(HttpMethod.Put, path, $$$"""{"tier":"gold","attributes":{"{{{name}}}":"member-1"}}""");
        Assert.Equal(("unchanged", id, "gold"), ((string?)unchanged["result"], (string?)unchanged["id"], (string?)unchanged["tier"]));

        var (missing, required) = await SendAsync(HttpMethod.Put, path, """{"tier":"gold"}""");
        AssertProblem(missing, required, 400, "validation_failed", $"/attributes/{name}");
        var (wrong, unfit) = await SendAsync(HttpMethod.Put, path, $$$"""{"attributes":{"{{{name}}}":7}}""");
        AssertProblem(wrong, unfit, 400, "validation_failed", $"/attributes/{name}");
        var (unknown, nothing) = await SendAsync(HttpMethod.Put, "/v1/customers/by-attribute?name=nobody-has-it", """{"tier":"gold"}""");
        AssertProblem(unknown, nothing, 400, "invalid_parameter", "name");
        await SendAsync(HttpMethod.Delete, $"/v1/customers/{id}", null, ("If-Match", "*"));
        var (deleted, binned) = await SendAsync(HttpMethod.Put, path, Person(name, "\"member-1\""));
        AssertProblem(deleted, binned, 409, "value_taken", $"/attributes/{name}");
        Assert.Equal(id, (string?)binned["existing_id"]);
    }

    [Fact]
    public async Task An_upsert_by_a_unique_field_makes_nobody_refer_themselves()
    {
        var name = await ReadyAsync("text");
        var there = await CreateAsync(Person(name, "\"member-1\""));
        var (self, problem) = await SendAsync(
            HttpMethod.Put, $"/v1/customers/by-attribute?name={name}",
            $$$"""{"source":{"type":"referral","referrer_id":"{{{there["id"]}}}"},"attributes":{"{{{name}}}":"member-1"}}""");
        AssertProblem(self, problem, 422, "unprocessable", "/source/referrer_id");
    }

    [Fact]
    public async Task An_import_finds_customers_by_a_unique_field_and_gives_nobody_what_another_one_has()
    {
        var (name, key) = (await ReadyAsync("integer"), Unique());
        var there = await CreateAsync(Person(name, "1"));
        var csv = $"given_name,kind,external_id.unique,attributes.{name}\nAnn,person,,1\nBea,person,,2\nBea,person,{key},2\nCleo,person,{key},1\n";
        foreach (var (dryRun, created) in new[] { (true, 1), (false, 1) })
        {
            var import = await PostImportAsync(csv, $"?match_on=external_id,attributes.{name}&dry_run={(dryRun ? "true" : "false")}");
            // The third row finds the second's; the fourth has somebody's external id and the value of somebody else.
            Assert.Equal((created, 2, 1), ((int)import["created"]!, (int)import["updated"]!, (int)import["failed"]!));
            var (_, failed) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed");
            Assert.Equal($"/attributes/{name} value_taken", $"{failed["data"]![0]!["errors"]![0]!["pointer"]} {failed["data"]![0]!["errors"]![0]!["code"]}");
        }

        Assert.Equal("Ann", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/{there["id"]}")).Body["given_name"]);
        using var content = new StringContent(csv, Encoding.UTF8, "text/csv");
        using var refused = await Client.PostAsync("/v1/imports?match_on=attributes.nobody-has-it", content, Ct);
        AssertProblem(refused, JsonNode.Parse(await refused.Content.ReadAsStringAsync(Ct))!, 400, "invalid_parameter", "match_on");
    }

    [Fact]
    public async Task An_undo_gives_back_the_values_that_customers_of_the_import_passed_on_to_each_other()
    {
        var (name, key) = (await ReadyAsync("integer"), Unique());
        await ImportedAsync($"{key}x,1", $"{key}y,2", $"{key}z,3");
        var import = await ImportedAsync($"{key}x,9", $"{key}y,1", $"{key}x,2", $"{key}z,4", $"{key}new,3");
        Assert.Equal((1, 4, 0), ((int)import["created"]!, (int)import["updated"]!, (int)import["failed"]!));
        Assert.Equal((1, 3, 0), await UndoAsync(import));
        foreach (var (id, value) in new[] { ("x", 1), ("y", 2), ("z", 3) })
        {
            Assert.Equal(value, (int)(await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/unique/{key}{id}")).Body["attributes"]![name]!);
        }

        // Who was edited since keeps a value, and so keeps whoever had it before from getting it back.
        var other = await ImportedAsync($"{key}x,9", $"{key}y,1", $"{key}x,2");
        var (_, x) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/unique/{key}x");
        await SendAsync(HttpMethod.Patch, $"/v1/customers/{x["id"]}", """{"department":"sales"}""", ("If-Match", "*"));
        Assert.Equal((0, 0, 2), await UndoAsync(other));
        var (_, results) = await SendAsync(HttpMethod.Get, $"/v1/imports/{other["id"]}/results");
        Assert.Equal(["edited", "value_taken", "edited"], results["data"]!.AsArray().Select(r => (string?)r!["undo_reason"]));

        Task<JsonNode> ImportedAsync(params string[] rows) =>
            PostImportAsync($"external_id.unique,attributes.{name},given_name,kind\n{string.Concat(rows.Select(r => $"{r},Ann,person\n"))}", "");

        async Task<(int, int, int)> UndoAsync(JsonNode import)
        {
            await SendAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
            var undone = await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "undone", TimeSpan.FromMinutes(1), Ct);
            return ((int)undone["undo"]!["removed"]!, (int)undone["undo"]!["restored"]!, (int)undone["undo"]!["refused"]!);
        }
    }

    [Fact]
    public async Task An_undo_asks_of_more_customers_than_a_question_takes_when_they_passed_values_on_to_each_other()
    {
        var (first, second, key) = (await ReadyAsync("integer"), await ReadyAsync("integer"), Unique());
        await ImportedAsync(Rows("x", i => $"{i},{i},Ann"));
        // The last thousand rows are of 600 who changed and 400 new ones; 800 more new ones have what the 600 had.
        var import = await ImportedAsync([.. Rows("x", i => $"{i + 1000},{i + 1000},Ann"), .. Rows("f", i => $"{i},,Ann"), .. Rows("g", i => $",{i},Ann"), .. Rows("x", _ => ",,Bea")]);
        Assert.Equal((1200, 1200, 0), ((int)import["created"]!, (int)import["updated"]!, (int)import["failed"]!));
        await SendAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        var undone = await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "undone", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal((1200, 600, 0), ((int)undone["undo"]!["removed"]!, (int)undone["undo"]!["restored"]!, (int)undone["undo"]!["refused"]!));

        IEnumerable<string> Rows(string kind, Func<int, string> values) => Enumerable.Range(1, 600).Select(i => $"{key}{kind}{i},{values(i)},person\n");

        Task<JsonNode> ImportedAsync(IEnumerable<string> rows) => PostImportAsync($"external_id.unique,attributes.{first},attributes.{second},given_name,kind\n{string.Concat(rows)}", "");
    }

    [Fact]
    public async Task An_upsert_by_a_unique_field_of_another_departments_customer_waits_for_its_approval()
    {
        var name = await ReadyAsync("text");
        var there = await CreateAsync($$$"""{"kind":"person","given_name":"Ann","department":"sales","source":{"type":"enquiry"},"attributes":{"{{{name}}}":"A"}}""");
        using var asker = Fixture.CreateClient("contacts", new TokenSubject("key_asker", Scopes.All, [], ["support"]));
        using var owner = Fixture.CreateClient("contacts", new TokenSubject("key_owner", Scopes.All, [], ["sales"]));
        using var body = new StringContent($$$"""{"given_name":"Eve","attributes":{"{{{name}}}":"A"}}""", Encoding.UTF8, "application/json");
        using var asked = await asker.PutAsync($"/v1/customers/by-attribute?name={name}", body, Ct);
        var request = JsonNode.Parse(await asked.Content.ReadAsStringAsync(Ct))!;
        Assert.True(asked.StatusCode == HttpStatusCode.Accepted, request.ToJsonString());
        Assert.Equal("given_name", (string?)request["changes"]!.AsArray().Single()!["field"]);
        Assert.Equal("Ann", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/{there["id"]}")).Body["given_name"]);

        using var approved = await owner.PostAsync($"/v1/change-requests/{request["id"]}/approve", null, Ct);
        Assert.Equal(HttpStatusCode.OK, approved.StatusCode);
        Assert.Equal("Eve", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/{there["id"]}")).Body["given_name"]);
    }

    private static string Person(string attribute, string value) =>
        $$$"""{"kind":"person","given_name":"{{{Unique()}}}","source":{"type":"enquiry"},"attributes":{"{{{attribute}}}":{{{value}}}}}""";

    private static string Attribute(string name, string value) => $$$"""{"attributes":{"{{{name}}}":{{{value}}}}}""";

    /// <summary>The name of a field that is unique from now on.</summary>
    private async Task<string> ReadyAsync(string type)
    {
        var name = $"u{Unique()}";
        var (response, field) = await SendAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{name}}","label":"L","type":"{{type}}","unique":true}""");
        Assert.True(response.StatusCode == HttpStatusCode.Created, field.ToJsonString());
        await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/custom-fields/{field["id"]}")).Body, f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
        return name;
    }

    private static async Task<long> CountAsync(NpgsqlDataSource database, string sql)
    {
        await using var command = database.CreateCommand(sql);
        return (long)(await command.ExecuteScalarAsync(Ct))!;
    }

    private async Task<JsonNode> PostImportAsync(string csv, string query)
    {
        using var content = new StringContent(csv, Encoding.UTF8, "text/csv");
        using var response = await Client.PostAsync($"/v1/imports{query}", content, Ct);
        var import = JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!;
        Assert.True(response.StatusCode == HttpStatusCode.Accepted, import.ToJsonString());
        return await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
    }
}
