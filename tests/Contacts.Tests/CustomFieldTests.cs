using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Testing;
using Npgsql;

namespace Contacts.Tests;

/// <summary>What an installation defines of its customers. A required field is everybody's, and one test kills Contacts: nobody else works meanwhile.</summary>
[CollectionDefinition(nameof(CustomFieldTests), DisableParallelization = true)]
[Collection(nameof(CustomFieldTests))]
public sealed class CustomFieldTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    public static TheoryData<string, string, string, string, string[]> Types => new()
    {
        // type, a value, as it is stored, the same as text of a file, and what is none
        { "text", "\"blue\"", "\"blue\"", "blue", ["7", "true"] },
        { "number", "2.50", "2.5", "2.5", ["\"2.5\"", "1e40", "true"] },
        { "integer", "42", "42", "42", ["4.2", "\"42\"", "9007199254740993"] },
        { "boolean", "true", "true", "Yes", ["\"true\"", "1"] },
        { "date", "\"2026-02-28\"", "\"2026-02-28\"", "28/02/2026", ["\"2026-02-30\"", "\"28.2.2026\"", "20260228"] },
        { "instant", "\"2026-01-31T10:00:00+01:00\"", "\"2026-01-31T09:00:00.000000Z\"", "2026-01-31T09:00:00Z", ["\"2026-01-31T10:00:00\"", "\"tomorrow\""] },
        { "choice", "\"gold\"", "\"gold\"", "Golden", ["\"bronze\"", "\"Gold\"", "1"] },
        { "money", """{"amount_minor":1250,"currency":"EUR"}""", "1250 EUR", "1250 EUR", ["12", "\"1250 EUR\"", """{"amount_minor":12.5,"currency":"EUR"}""", """{"amount_minor":1,"currency":"eur"}""", """{"amount_minor":1,"currency":"EUR","tax":1}""", """{"amount_minor":100000000000001,"currency":"EUR"}"""] },
        { "url", "\"https://example.com/a\"", "\"https://example.com/a\"", "https://example.com/a", ["\"example.com\"", "\"javascript:alert(1)\"", "\"https://a b\""] },
    };

    [Theory]
    [MemberData(nameof(Types))]
    public async Task A_field_is_of_its_type_whichever_way_a_value_comes_in(string type, string value, string stored, string asText, string[] wrong)
    {
        var field = await DefineAsync(type, type == "choice" ? ""","options":[{"value":"gold","label":"Golden"},{"value":"silver"}]""" : "");
        var name = (string)field["name"]!;
        var at = $"/attributes/{name}";
        var customer = await CreateAsync(Person(name, value));
        var path = $"/v1/customers/{customer["id"]}";
        Assert.Equal(stored, Text(customer["attributes"]![name]));

        foreach (var none in wrong)
        {
            var (created, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, none));
            AssertProblem(created, problem, 400, "validation_failed", at);
            var (patched, refused) = await SendAsync(HttpMethod.Patch, path, $$$"""{"attributes":{"{{{name}}}":{{{none}}}}}""", ("If-Match", "*"));
            AssertProblem(patched, refused, 400, "validation_failed", at);
            var (put, unfit) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/fields/{Unique()}", Person(name, none));
            AssertProblem(put, unfit, 400, "validation_failed", at);
            Assert.Equal([$"{at} {(type == "choice" ? "unknown_value" : "wrong_type")}"], await ImportErrorsAsync(Person(name, none).ReplaceLineEndings("")));
        }

        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, path)).Body["version"]!);

        // A file has texts only; a cell that is no value of the type fails its row alone.
        var key = Unique();
        var import = await ImportAsync($"given_name,external_id.fields,attributes.{name},kind\nGood,{key},\"{asText}\",person\n{(type == "text" ? "" : $"Bad,{key}2,???,person\n")}", type == "date" ? """{"date_format":"dd/MM/yyyy"}""" : "{}");
        Assert.Equal((1, type == "text" ? 0 : 1), ((int)import["created"]!, (int)import["failed"]!));
        Assert.Equal(stored, Text((await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/fields/{key}")).Body["attributes"]![name]));
        if (type != "text")
        {
            var (_, failed) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed");
            Assert.Equal(at, (string?)failed["data"]![0]!["errors"]![0]!["pointer"]);
        }
    }

    [Theory]
    [InlineData("1e400000")]
    [InlineData("1e131071")]
    [InlineData("1e99999999999")]
    [InlineData("1e-16000")]
    [InlineData("-0.1e-99")]
    public async Task A_number_that_cannot_be_stored_is_refused_though_nobody_has_defined_the_field(string number)
    {
        var (name, money, key) = ($"f{Unique()}", (string)(await DefineAsync("money"))["name"]!, Unique());
        var (at, path) = ($"/attributes/{name}", $"/v1/customers/by-external-id/fields/{key}");
        var (_, there) = await SendAsync(HttpMethod.Put, path, $$$"""{"kind":"person","given_name":"Ada","attributes":{"{{{name}}}":0,"{{{money}}}":{"amount_minor":1,"currency":"EUR"}},"source":{"type":"enquiry"}}""");
        var change = $$$"""{"attributes":{"{{{name}}}":{{{number}}}}}""";
        foreach (var (method, to, json) in new[]
        {
            (HttpMethod.Post, "/v1/customers", Person(name, number)), (HttpMethod.Put, $"{path}-2", Person(name, number)), (HttpMethod.Put, path, change), (HttpMethod.Patch, $"/v1/customers/{there["id"]}", change),
        })
        {
            var (response, problem) = await SendAsync(method, to, json, ("If-Match", "*"));
            AssertProblem(response, problem, 400, "validation_failed", at);
            Assert.Equal("out_of_range", (string?)problem["errors"]![0]!["code"]);
        }

        Assert.Equal([$"{at} out_of_range"], await ImportErrorsAsync(Person(name, number)));
        Assert.Equal([$"{at} out_of_range"], await ImportErrorsAsync($$$"""{"external_ids":[{"system":"fields","id":"{{{key}}}"}],"attributes":{"{{{name}}}":{{{number}}}}}"""));
        var (patched, inside) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{there["id"]}", $$$$"""{"attributes":{"{{{{money}}}}":{"amount_minor":{{{{number}}}}}}}""", ("If-Match", "*"));
        AssertProblem(patched, inside, 400, "validation_failed", $"/attributes/{money}");
        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, path)).Body["version"]!);
    }

    [Fact]
    public async Task A_number_is_stored_in_one_way_however_it_is_written()
    {
        var (name, defined) = ($"f{Unique()}", (string)(await DefineAsync("number"))["name"]!);
        foreach (var field in new[] { name, defined })
        {
            var customer = await CreateAsync(Person(field, "250.0e-2"));
            var path = $"/v1/customers/{customer["id"]}";
            Assert.Equal("2.5", customer["attributes"]![field]!.ToJsonString());
            foreach (var (patch, version) in new[] { ($$$"""{"attributes":{"{{{field}}}":0.0250e2}}""", 1), ($$$"""{"tier":"gold","attributes":{"{{{field}}}":2.500}}""", 2), ($$$"""{"attributes":{"{{{field}}}":0e-7}}""", 3) })
            {
                var (_, changed) = await SendAsync(HttpMethod.Patch, path, patch, ("If-Match", "*"));
                Assert.Equal((version, version < 3 ? "2.5" : "0"), ((int)changed["version"]!, changed["attributes"]![field]!.ToJsonString()));
            }

            await using var database = await Fixture.DatabaseAsync("contacts");
            Assert.True(Ids.Customer.TryParse((string?)customer["id"], out var id));
            Assert.Equal("0", await ReadAsync(database, $"SELECT attributes ->> '{field}' FROM customers WHERE id = '{id}'"));
        }
    }

    [Fact]
    public async Task Values_older_than_their_definition_stay_until_they_change_and_are_neither_restored_nor_merged_into_another()
    {
        var name = $"f{Unique()}";
        var old = await CreateAsync(Person(name, "\"forty\""));
        var other = await CreateAsync(Person($"g{Unique()}", "1"));
        var path = $"/v1/customers/{old["id"]}";
        await DefineAsync("integer", "", name);

        var (renamed, _) = await SendAsync(HttpMethod.Patch, path, """{"family_name":"King"}""", ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.OK, renamed.StatusCode);
        var merge = $$$"""{"survivor_id":"{{{other["id"]}}}","customer_ids":["{{{old["id"]}}}"]{0}}""";
        foreach (var choices in new[] { "", $$""","choices":{"attributes.{{name}}":"{{old["id"]}}"}""" })
        {
            var (preview, unfit) = await SendAsync(HttpMethod.Post, "/v1/merge-previews", merge.Replace("{0}", choices, StringComparison.Ordinal));
            AssertProblem(preview, unfit, 422, "unprocessable", $"/attributes/{name}");
        }

        var (changed, _) = await SendAsync(HttpMethod.Patch, path, $$$"""{"attributes":{"{{{name}}}":40}}""", ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.OK, changed.StatusCode);
        var (_, history) = await SendAsync(HttpMethod.Get, $"{path}/history?field=attributes");
        var change = history["data"]![0]!["changes"]![0]!;
        Assert.Equal(($"attributes.{name}", "forty", 40), ((string?)change["field"], (string?)change["old"], (int?)change["new"]));
        var (restored, wrong) = await SendAsync(HttpMethod.Post, $"{path}/history/{history["data"]![0]!["id"]}/restore", "{}", ("If-Match", "*"));
        AssertProblem(restored, wrong, 400, "validation_failed", $"/attributes/{name}");
        // Whoever is asked next is not there in this test.
        var (merged, unasked) = await SendAsync(HttpMethod.Post, "/v1/merge-previews", merge.Replace("{0}", "", StringComparison.Ordinal));
        AssertProblem(merged, unasked, 503, "unavailable");
    }

    [Fact]
    public async Task A_required_field_is_asked_of_new_customers_of_its_kind_and_cannot_be_emptied()
    {
        var before = await CreatePersonAsync("Ada", Unique());
        var field = await DefineAsync("text", ""","required":true,"applies_to":"person" """);
        var (name, at) = ((string)field["name"]!, $"/attributes/{field["name"]}");
        try
        {
            var (missing, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", """{"kind":"person","given_name":"Ada","source":{"type":"enquiry"}}""");
            AssertProblem(missing, problem, 400, "validation_failed", at);
            await CreateAsync($$$"""{"kind":"organization","name":"{{{Unique()}}}","source":{"type":"enquiry"}}""");
            var (notTheirs, misplaced) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""{"kind":"organization","name":"A","source":{"type":"enquiry"},"attributes":{"{{{name}}}":"x"}}""");
            AssertProblem(notTheirs, misplaced, 400, "validation_failed", at);

            // Who has none yet can be changed.
            var (changed, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{before["id"]}", """{"tier":"gold"}""", ("If-Match", "*"));
            Assert.Equal(HttpStatusCode.OK, changed.StatusCode);
            var customer = await CreateAsync(Person(name, "\"x\""));
            foreach (var empty in new[] { $$$"""{"attributes":{"{{{name}}}":null}}""", """{"attributes":null}""" })
            {
                var (emptied, refused) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", empty, ("If-Match", "*"));
                AssertProblem(emptied, refused, 400, "validation_failed", at);
            }

            var (_, person) = await SendAsync(HttpMethod.Get, "/v1/custom-fields/schema?kind=person");
            var (_, organization) = await SendAsync(HttpMethod.Get, "/v1/custom-fields/schema?kind=organization");
            Assert.Contains(name, person["required"]!.AsArray().Select(r => (string?)r));
            Assert.DoesNotContain(name, organization["properties"]!.AsObject().Select(p => p.Key));
        }
        finally
        {
            await SendAsync(HttpMethod.Delete, $"/v1/custom-fields/{field["id"]}", null, ("If-Match", "*"));
        }
    }

    [Fact]
    public async Task An_archived_field_keeps_its_values_and_takes_no_more_until_it_is_brought_back()
    {
        var field = await DefineAsync("choice", ""","options":[{"value":"a"},{"value":"b"}],"indexed":true""");
        var (name, path) = ((string)field["name"]!, $"/v1/custom-fields/{field["id"]}");
        var customer = await CreateAsync(Person(name, "\"a\""));
        await ReadyAsync(path);

        var (unconditional, required) = await SendAsync(HttpMethod.Delete, path);
        AssertProblem(unconditional, required, 428, "precondition_required");
        var (archived, _) = await SendAsync(HttpMethod.Delete, path, null, ("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.NoContent, archived.StatusCode);
        await Eventually.GetAsync(() => IndexesAsync(field), found => found == "", ct: Ct);
        var (_, kept) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer["id"]}");
        Assert.Equal("a", (string?)kept["attributes"]![name]);
        var (same, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"tier":"gold"}""", ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.OK, same.StatusCode);
        var (written, refused) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", $$$"""{"attributes":{"{{{name}}}":"b"}}""", ("If-Match", "*"));
        AssertProblem(written, refused, 400, "validation_failed", $"/attributes/{name}");
        Assert.Equal("archived", (string?)refused["errors"]![0]!["code"]);
        var (filtered, unknown) = await SendAsync(HttpMethod.Get, $"/v1/customers?attributes.{name}=a");
        AssertProblem(filtered, unknown, 400, "invalid_parameter", $"attributes.{name}");
        var (again, taken) = await SendAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{name}}","label":"L","type":"text"}""");
        AssertProblem(again, taken, 409, "conflict", "/name");
        Assert.Equal((string?)field["id"], (string?)taken["existing_id"]);

        var (back, _) = await SendAsync(HttpMethod.Patch, path, """{"archived":false}""", ("If-Match", "\"2\""));
        Assert.Equal(HttpStatusCode.OK, back.StatusCode);
        await ReadyAsync(path);
        Assert.Equal([(string?)customer["id"]], await IdsAsync($"attributes.{name}=a"));
        var (_, audit) = await SendAsync(HttpMethod.Get, path);
        Assert.Equal((3, null), ((int)audit["version"]!, (string?)audit["archived_at"]));
    }

    [Theory]
    [InlineData("""{"type":"text","options":null}""", 409, "conflict", "/type")]
    [InlineData("""{"name":"another"}""", 400, "validation_failed", "/name")]
    [InlineData("""{"options":[{"value":"a"}]}""", 400, "validation_failed", "/options")]
    [InlineData("""{"options":[{"value":"a"},{"value":"A"},{"value":"b"}]}""", 400, "validation_failed", "/options")]
    [InlineData("""{"field_group":"shoes"}""", 400, "validation_failed", "/field_group")]
    [InlineData("""{"label":null}""", 400, "validation_failed", "/label")]
    [InlineData("""{"index":"ready"}""", 400, "validation_failed", "/index")]
    public async Task What_values_rely_on_does_not_change(string patch, int status, string code, string pointer)
    {
        var field = await DefineAsync("choice", ""","options":[{"value":"a"},{"value":"b"}]""");
        await CreateAsync(Person((string)field["name"]!, "\"a\""));
        var (response, body) = await SendAsync(HttpMethod.Patch, $"/v1/custom-fields/{field["id"]}", patch, ("If-Match", "*"));
        AssertProblem(response, body, status, code, pointer);
        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, $"/v1/custom-fields/{field["id"]}")).Body["version"]!);
    }

    [Theory]
    [InlineData("""{"label":"L","type":"text"}""", "/name")]
    [InlineData("""{"name":"Big Name","label":"L","type":"text"}""", "/name")]
    [InlineData("""{"name":"a","label":"L","type":"coins"}""", "/type")]
    [InlineData("""{"name":"a","label":"L","type":"choice"}""", "/options")]
    [InlineData("""{"name":"a","label":"L","type":"text","options":[{"value":"a"}]}""", "/options")]
    [InlineData("""{"name":"a","label":"L","type":"choice","options":[null]}""", "/options")]
    [InlineData("""{"name":"a","label":"L","type":"text","archived":true}""", "/archived")]
    [InlineData("""{"name":"a","label":"L","type":"boolean","unique":true}""", "/unique")]
    [InlineData("""{"name":"a","label":"L","type":"money","unique":true}""", "/unique")]
    [InlineData("""{"name":"a","label":"L","type":"text","secret":true}""", "/secret")]
    public async Task A_definition_that_means_nothing_is_refused(string json, string pointer)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, "/v1/custom-fields", json);
        AssertProblem(response, body, 400, "validation_failed", pointer);
    }

    [Fact]
    public async Task Options_are_added_and_archived_and_a_type_changes_while_nobody_has_a_value()
    {
        var field = await DefineAsync("choice", ""","options":[{"value":"a"},{"value":"b"}]""");
        var (name, path) = ((string)field["name"]!, $"/v1/custom-fields/{field["id"]}");
        var (patched, _) = await SendAsync(HttpMethod.Patch, path, """{"options":[{"value":"a","archived":true},{"value":"b"},{"value":"c"}]}""", ("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.OK, patched.StatusCode);
        var (old, archived) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(name, "\"a\""));
        AssertProblem(old, archived, 400, "validation_failed", $"/attributes/{name}");
        var (typed, body) = await SendAsync(HttpMethod.Patch, path, """{"type":"integer","options":null}""", ("If-Match", "\"2\""));
        Assert.True(typed.IsSuccessStatusCode, body.ToJsonString());
        Assert.Equal(7, (int)(await CreateAsync(Person(name, "7")))["attributes"]![name]!);
        var (stale, late) = await SendAsync(HttpMethod.Patch, path, """{"label":"Late"}""", ("If-Match", "\"1\""));
        AssertProblem(stale, late, 412, "stale_version");
        var (_, list) = await SendAsync(HttpMethod.Get, "/v1/custom-fields?limit=1");
        Assert.Equal((name, "integer"), ((string?)list["data"]![0]!["name"], (string?)list["data"]![0]!["type"]));
    }

    [Fact]
    public async Task Twenty_thousand_customers_are_filtered_by_an_index_in_pages_that_lose_nobody()
    {
        var (size, day, colour) = ($"s{Unique()}", $"d{Unique()}", $"c{Unique()}");
        await using var database = await Fixture.DatabaseAsync("contacts");
        await FillAsync(database, size, day, colour);
        try
        {
            var fields = new Dictionary<string, JsonNode>
            {
                [size] = await DefineAsync("integer", ""","indexed":true""", size), [day] = await DefineAsync("date", ""","indexed":true""", day), [colour] = await DefineAsync("text", ""","indexed":true""", colour),
            };
            var plain = (string)(await DefineAsync("text"))["name"]!;
            foreach (var field in fields.Values)
            {
                await ReadyAsync($"/v1/custom-fields/{field["id"]}");
            }

            // 0..19,999, each once; 200 colours; a thousand days.
            Assert.Equal(30, (await PagesAsync($"attributes.{size}[gte]=19970", 7)).Distinct().Count());
            Assert.Equal(9, (await PagesAsync($"attributes.{size}[gt]=100&attributes.{size}[lt]=110", 4)).Count);
            Assert.Single(await IdsAsync($"attributes.{size}=12345"));
            Assert.Equal(100, (await PagesAsync($"attributes.{colour}=c17", 30)).Distinct().Count());
            // A text of which the index has the beginning only.
            var (start, longer) = (new string('ä', 500), (await CreateAsync(Person(colour, $"\"{new string('ä', 501)}\"")))["id"]);
            Assert.Empty(await IdsAsync($"attributes.{colour}={start}"));
            Assert.Equal([(string?)longer], await IdsAsync($"attributes.{colour}={start}ä"));
            Assert.Equal(40, (await PagesAsync($"attributes.{day}[lte]=2020-01-02", 25)).Distinct().Count());
            Assert.Single(await IdsAsync($"attributes.{colour}=c17&attributes.{size}=17"));
            Assert.Empty(await IdsAsync($"attributes.{colour}=c17&attributes.{size}=18"));
            foreach (var (query, says) in new[]
            {
                ($"attributes.{plain}=a", "not indexed"), ($"attributes.nobody-has-it=a", "no such field"), ($"attributes.{colour}[gte]=a", "ranges"),
                ($"attributes.{size}=many", "whole number"), ($"attributes.{day}[gt]=2020-02-30", "date"), ($"attributes.{size}[like]=1", "ranges"),
            })
            {
                var (response, body) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}");
                AssertProblem(response, body, 400, "invalid_parameter", query.Split('=')[0]);
                Assert.Contains(says, (string?)body["detail"], StringComparison.Ordinal);
            }

            // What the service asked was answered by the indexes, and EXPLAIN says why.
            foreach (var (name, field) in fields)
            {
                await Eventually.GetAsync(() => ScansAsync(database, field), scans => scans > 0, ct: Ct);
                var indexed = await ReadAsync(database, $"SELECT pg_get_indexdef(indexrelid, 1, false) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = '{IndexName(field)}'");
                var condition = (string?)field["type"] switch { "integer" => $"({indexed}) BETWEEN 100 AND 110", "date" => $"({indexed}) COLLATE \"C\" <= '2020-01-02'", _ => $"({indexed}) COLLATE \"C\" = left('c17', 500)" };
                var plan = await ReadAsync(database, $"EXPLAIN SELECT * FROM (SELECT * FROM customers WHERE true AND {condition}) AS c WHERE state = 'active' ORDER BY id DESC LIMIT 26");
                Assert.Contains(IndexName(field), plan, StringComparison.Ordinal);
                Assert.DoesNotContain("Seq Scan", plan, StringComparison.Ordinal);
                TestContext.Current.SendDiagnosticMessage("{0}", plan);
            }
        }
        finally
        {
            await ReadAsync(database, $"WITH gone AS (DELETE FROM customers WHERE attributes ? '{size}' RETURNING 1) SELECT count(*)::text FROM gone");
        }
    }

    [Fact]
    public async Task Amounts_of_money_are_found_among_those_of_their_currency_by_the_index()
    {
        var field = await DefineAsync("money", ""","indexed":true""");
        var name = (string)field["name"]!;
        var ids = new Dictionary<string, string?>();
        foreach (var (minor, currency) in new[] { (1000, "EUR"), (2000, "EUR"), (1500, "USD"), (-500, "EUR") })
        {
            ids[$"{minor} {currency}"] = (string?)(await CreateAsync(Person(name, $$"""{"amount_minor":{{minor}},"currency":"{{currency}}"}""")))["id"];
        }

        // Before the index is ready, equality is answered all the same.
        Assert.Equal([ids["1500 USD"]], await IdsAsync($"attributes.{name}=1500%20USD"));
        await ReadyAsync($"/v1/custom-fields/{field["id"]}");
        Assert.Equal([ids["2000 EUR"]], await IdsAsync($"attributes.{name}=2000%20EUR"));
        Assert.Equal([ids["2000 EUR"], ids["1000 EUR"]], await IdsAsync($"attributes.{name}[gte]=1000+EUR"));
        Assert.Equal([ids["-500 EUR"]], await IdsAsync($"attributes.{name}[lt]=0%20EUR"));
        Assert.Empty(await IdsAsync($"attributes.{name}[gt]=0%20GBP"));
        foreach (var none in new[] { "1000", "10.00%20EUR", "1000%20eur", "EUR%201000" })
        {
            var (response, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers?attributes.{name}[gte]={none}");
            AssertProblem(response, problem, 400, "invalid_parameter", $"attributes.{name}[gte]");
        }

        await using var database = await Fixture.DatabaseAsync("contacts");
        var index = await ReadAsync(database, $"SELECT indexdef FROM pg_indexes WHERE indexname = '{IndexName(field)}'");
        Assert.Matches("(?s)currency.*amount_minor.*, id", index);
        await Eventually.GetAsync(() => ScansAsync(database, field), scans => scans > 0, ct: Ct);
        var (_, schema) = await SendAsync(HttpMethod.Get, "/v1/custom-fields/schema");
        Assert.Equal(("object", """["amount_minor","currency"]"""), ((string?)schema["properties"]![name]!["type"], schema["properties"]![name]!["required"]!.ToJsonString()));

        // A merge patch changes a part of it.
        var (_, patched) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{ids["1500 USD"]}", $$$$"""{"attributes":{"{{{{name}}}}":{"amount_minor":1600}}}""", ("If-Match", "*"));
        Assert.Equal("1600 USD", Text(patched["attributes"]![name]));
    }

    [Fact]
    public async Task An_index_whose_builder_was_killed_is_dropped_and_made_anew()
    {
        var contacts = Fixture.Platform["contacts"];
        await using var database = await Fixture.DatabaseAsync("contacts");
        // A build waits for those who look at the table.
        await using var look = await database.OpenConnectionAsync(Ct);
        await using var transaction = await look.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, Ct);
        await using (var see = new NpgsqlCommand("SELECT count(*) FROM customers", look))
        {
            await see.ExecuteScalarAsync(Ct);
        }

        var field = await DefineAsync("number", ""","indexed":true""");
        await Eventually.GetAsync(() => IndexesAsync(field), found => found == "invalid", ct: Ct);
        var (early, notYet) = await SendAsync(HttpMethod.Get, $"/v1/customers?attributes.{field["name"]}[gt]=1");
        AssertProblem(early, notYet, 400, "invalid_parameter");
        Assert.Contains("building", (string?)notYet["detail"], StringComparison.Ordinal);
        var customer = await CreateAsync(Person((string)field["name"]!, "2.5"));
        Assert.Equal([(string?)customer["id"]], await IdsAsync($"attributes.{field["name"]}=2.5"));

        await contacts.KillAsync();
        await ReadAsync(database, "SELECT count(pg_terminate_backend(pid, 10000))::text FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()");
        await transaction.RollbackAsync(Ct);
        Assert.Equal("invalid", await IndexesAsync(field));
        contacts.Start();
        await contacts.WaitUntilReadyAsync(ct: Ct);
        await ReadyAsync($"/v1/custom-fields/{field["id"]}");
        Assert.Equal("valid", await IndexesAsync(field));
        Assert.Equal([(string?)customer["id"]], await IdsAsync($"attributes.{field["name"]}[gt]=2"));
    }

    [Fact]
    public async Task A_field_of_a_group_of_its_own_is_seen_written_and_asked_for_by_roles_that_have_the_group()
    {
        var field = await DefineAsync("text", ""","indexed":true,"field_group":"identity" """);
        var name = (string)field["name"]!;
        var customer = await CreateAsync($$$"""{"kind":"person","family_name":"{{{Unique()}}}","attributes":{"{{{name}}}":"secret","shoe":38},"source":{"type":"enquiry"}}""");
        var path = $"/v1/customers/{customer["id"]}";
        using var manager = Fixture.CreateClient("contacts", new TokenSubject("key_role", Scopes.All, ["manager"], []));
        using var sales = Fixture.CreateClient("contacts", new TokenSubject("key_role", Scopes.All, ["sales"], []));
        foreach (var (caller, sees) in new[] { (manager, true), (sales, false) })
        {
            var read = await caller.CallAsync(path, Ct);
            Assert.Equal((sees, 38), (read["attributes"]!.AsObject().ContainsKey(name), (int)read["attributes"]!["shoe"]!));
            var history = await caller.CallAsync($"{path}/history", Ct);
            var wire = await Grpc().GetCustomerAsync(new() { Id = (string)customer["id"]! }, new() { { "authorization", $"Bearer {Fixture.Token(new TokenSubject("key_role", [Scopes.CustomersRead], [sees ? "manager" : "sales"], []))}" } }, cancellationToken: Ct);
            foreach (var seen in new[] { history.Body!.ToJsonString(), wire.ToString() })
            {
                Assert.Equal(sees, seen.Contains("secret", StringComparison.Ordinal));
                Assert.Contains("38", seen, StringComparison.Ordinal);
            }

            var found = await caller.CallAsync($"/v1/customers?attributes.{name}=secret", Ct);
            Assert.Equal(sees ? null : "field_forbidden", found.Code);
            var written = await caller.PatchAsync(path, $$$"""{"attributes":{"{{{name}}}":"{{{Unique()}}}"}}""", "*", Ct);
            Assert.Equal(sees ? null : "field_forbidden", written.Code);
            Assert.Equal(sees ? [] : [$"/attributes/{name} field_forbidden"], written.Errors);
            // What it does not see stays.
            Assert.Equal(HttpStatusCode.OK, (await caller.PatchAsync(path, """{"attributes":{"shoe":38},"tier":"gold"}""", "*", Ct)).Status);
            await manager.PatchAsync(path, $$$"""{"attributes":{"{{{name}}}":"secret"}}""", "*", Ct);

            var asked = await caller.CallAsync($"{path}/history?field=attributes.{name}", Ct);
            Assert.Equal(sees ? null : "field_forbidden", asked.Code);
            var entry = (string)(await manager.CallAsync($"{path}/history?field=attributes.{name}&limit=1", Ct)).Data[0]!["id"]!;
            foreach (var fields in (string[])["attributes", $"attributes.{name}"])
            {
                var restored = await caller.CallAsync(HttpMethod.Post, $"{path}/history/{entry}/restore", $$"""{"fields":["{{fields}}"]}""", [("If-Match", "*")], Ct);
                Assert.Equal(sees ? null : "field_forbidden", restored.Code);
                Assert.Equal(sees ? [] : [$"/attributes/{name} field_forbidden"], restored.Errors);
            }

            await manager.PatchAsync(path, $$$"""{"attributes":{"{{{name}}}":"secret"}}""", "*", Ct);
        }

        Assert.Equal("secret", (string?)(await SendAsync(HttpMethod.Get, path)).Body["attributes"]![name]);
    }

    [Fact]
    public async Task Who_does_not_write_the_group_of_a_field_is_refused_by_its_name_whether_a_guess_is_right_or_wrong()
    {
        var (hidden, key) = (await DefineAsync("text", ""","unique":true,"field_group":"identity" """), await DefineAsync("text", ""","unique":true"""));
        await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/custom-fields/{key["id"]}")).Body, f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
        var (name, member) = ((string)hidden["name"]!, (string)key["name"]!);
        using var sales = Fixture.CreateClient("contacts", new TokenSubject("key_role", Scopes.All, ["sales"], []));
        foreach (var secret in (string[])[$"\"{name}\":\"C\",", ""])
        {
            var external = Unique();
            var customer = await CreateAsync($$$"""
                {"kind":"person","family_name":"{{{external}}}","external_ids":[{"system":"fields","id":"{{{external}}}"}],"source":{"type":"enquiry"},
                 "attributes":{ {{{secret}}} "{{{member}}}":"{{{external}}}"}}
                """);
            var path = $"/v1/customers/{customer["id"]}";
            foreach (var guess in (string[])["\"C\"", "\"D\"", "null"])
            {
                var body = $$$"""{"attributes":{"{{{member}}}":"{{{external}}}","{{{name}}}":{{{guess}}}}}""";
                foreach (var answer in new[]
                {
                    await sales.PatchAsync(path, body, "*", Ct),
                    await sales.PutAsync($"/v1/customers/by-external-id/fields/{external}", body, Ct),
                    await sales.PutAsync($"/v1/customers/by-attribute?name={member}", body, Ct),
                    await sales.PutAsync($"/v1/customers/by-attribute?name={name}", body, Ct),
                })
                {
                    Assert.Equal((HttpStatusCode.Forbidden, "field_forbidden"), (answer.Status, answer.Code));
                    Assert.Equal([$"/attributes/{name} field_forbidden"], answer.Errors);
                }
            }

            var all = await sales.PatchAsync(path, """{"attributes":null}""", "*", Ct);
            Assert.Equal((HttpStatusCode.Forbidden, "field_forbidden"), (all.Status, all.Code));
            Assert.Contains($"/attributes/{name} field_forbidden", all.Errors);

            // What was read can be sent back whole, and what was not shown stays.
            var read = await sales.CallAsync(path, Ct);
            var back = await sales.PatchAsync(path, $$"""{"attributes":{{read["attributes"]!.ToJsonString()}}}""", "*", Ct);
            Assert.Equal((HttpStatusCode.OK, 1), (back.Status, (int)back["version"]!));
            Assert.Equal(secret.Length > 0 ? "C" : null, (string?)(await SendAsync(HttpMethod.Get, path)).Body["attributes"]![name]);
        }
    }

    [Fact]
    public async Task The_schema_of_attributes_is_what_this_installation_defines()
    {
        var choice = await DefineAsync("choice", ""","options":[{"value":"a","label":"Ah"},{"value":"b","archived":true}],"description":"Which" """);
        var gone = await DefineAsync("instant");
        await SendAsync(HttpMethod.Delete, $"/v1/custom-fields/{gone["id"]}", null, ("If-Match", "*"));
        var (response, schema) = await SendAsync(HttpMethod.Get, "/v1/custom-fields/schema");
        Assert.Equal("application/schema+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("https://json-schema.org/draft/2020-12/schema", (string?)schema["$schema"]);
        Assert.Equal("""{"title":"L","description":"Which","type":"string","oneOf":[{"const":"a","title":"Ah"},{"const":"b","title":"b","deprecated":true}]}""", schema["properties"]![(string)choice["name"]!]!.ToJsonString());
        Assert.Equal("""{"title":"L","type":"string","format":"date-time","deprecated":true,"readOnly":true}""", schema["properties"]![(string)gone["name"]!]!.ToJsonString());
        Assert.Equal("""{"type":["string","number","boolean"],"maxLength":2000}""", schema["additionalProperties"]!.ToJsonString());
    }

    private static string Person(string attribute, string value) =>
        $$$"""{"kind":"person","given_name":"Ada","family_name":"{{{Unique()}}}","source":{"type":"enquiry"},"attributes":{"{{{attribute}}}":{{{value}}}}}""";

    private static string Text(JsonNode? value) => value is JsonObject money ? $"{money["amount_minor"]} {money["currency"]}"
        : value is JsonValue number && number.GetValueKind() == System.Text.Json.JsonValueKind.Number
        ? number.GetValue<decimal>().ToString("0.##", CultureInfo.InvariantCulture)
        : value!.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    private static string IndexName(JsonNode field) => Ids.CustomField.TryParse((string)field["id"]!, out var id) ? $"customers_attribute_{id:n}_{field["type"]}" : "";

    private async Task<JsonNode> DefineAsync(string type, string more = "", string? name = null)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, "/v1/custom-fields", $$"""{"name":"{{name ?? $"f{Unique()}"}}","label":"L","type":"{{type}}"{{more}}}""");
        Assert.True(response.StatusCode == HttpStatusCode.Created, body.ToJsonString());
        return body;
    }

    private Task<JsonNode> ReadyAsync(string path) =>
        Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, path)).Body, f => (string?)f["index"] == "ready", TimeSpan.FromSeconds(60), Ct);

    private async Task<List<string?>> IdsAsync(string query)
    {
        var (response, body) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}");
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return [.. body["data"]!.AsArray().Select(c => (string?)c!["id"])];
    }

    private async Task<List<string?>> PagesAsync(string query, int limit)
    {
        var found = new List<string?>();
        for (string? cursor = ""; cursor is not null;)
        {
            var (_, page) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}&limit={limit}{cursor}");
            found.AddRange(page["data"]!.AsArray().Select(c => (string?)c!["id"]));
            cursor = (string?)page["next_cursor"] is { } next ? $"&cursor={next}" : null;
        }

        return found;
    }

    private static async Task FillAsync(NpgsqlDataSource database, string size, string day, string colour) => await ReadAsync(database, $$"""
        WITH added AS (
            INSERT INTO customers (id, version, event_sequence, kind, given_name, display_name, search_name, emails, phones, addresses, lifecycle, tier, attributes, match_keys, state, created_at, updated_at)
            SELECT gen_random_uuid(), 1, 1, 'person', 'Row' || n, 'Row' || n, 'row' || n, '[]', '[]', '[]', 'prospect', 'standard',
                   jsonb_build_object('{{size}}', n, '{{colour}}', 'c' || n % 200, '{{day}}', to_char(date '2020-01-01' + n % 1000, 'YYYY-MM-DD')), '{}', 'active', now(), now()
            FROM generate_series(0, 19999) AS n RETURNING 1)
        SELECT count(*)::text FROM added
        """);

    private async Task<string> IndexesAsync(JsonNode field)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        return await ReadAsync(database, $"SELECT CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = '{IndexName(field)}'");
    }

    private static async Task<long> ScansAsync(NpgsqlDataSource database, JsonNode field) =>
        long.Parse(await ReadAsync(database, $"SELECT idx_scan::text FROM pg_stat_user_indexes WHERE indexrelname = '{IndexName(field)}'"), CultureInfo.InvariantCulture);

    /// <summary>The rows of one column.</summary>
    private static async Task<string> ReadAsync(NpgsqlDataSource database, string sql)
    {
        var rows = new List<string>();
        await using var command = database.CreateCommand(sql);
        command.CommandTimeout = 300;
        await using var reader = await command.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            rows.Add(reader.GetString(0));
        }

        return string.Join('\n', rows);
    }

    private async Task<IReadOnlyList<string>> ImportErrorsAsync(string line)
    {
        var import = await PostImportAsync(line, "application/x-ndjson", "");
        var (_, failed) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed");
        return [.. failed["data"]!.AsArray().SelectMany(r => r!["errors"]!.AsArray()).Select(e => $"{e!["pointer"]} {e["code"]}")];
    }

    private async Task<JsonNode> ImportAsync(string csv, string mapping)
    {
        var name = $"m{Unique()}";
        var (saved, body) = await SendAsync(HttpMethod.Put, $"/v1/import-mappings/{name}", mapping);
        Assert.True(saved.IsSuccessStatusCode, body.ToJsonString());
        return await PostImportAsync(csv, "text/csv", $"?mapping={name}");
    }

    private async Task<JsonNode> PostImportAsync(string text, string type, string query)
    {
        using var content = new StringContent(text, Encoding.UTF8, type);
        using var response = await Client.PostAsync($"/v1/imports{query}", content, Ct);
        var import = JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!;
        Assert.True(response.StatusCode == HttpStatusCode.Accepted, import.ToJsonString());
        return await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
    }
}
