using System.Net;
using System.Text.Json.Nodes;
using Crm.Testing;
using Npgsql;

namespace Contacts.Tests;

public sealed class DuplicateCheckTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Theory]
    [InlineData("Wilhelmina", "{0}", "1962-03-14")]
    [InlineData("Wilhelmine", "{0}", "1962-03-14")]
    [InlineData("{0}", "Wilhelmina", "1962-03-14")]
    [InlineData("WILHELMÍNA", "{0}", "1962-03-15")]
    public async Task The_same_person_written_differently_is_suspected(string given, string family, string birth)
    {
        var name = NewName();
        var known = await PersonAsync("Wilhelmina", name, "1962-03-14");
        var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Person(string.Format(given, name), string.Format(family, name), birth));
        AssertProblem(response, problem, 409, "duplicate_suspected", "/birth_date");
        var candidate = Assert.Single(problem["candidates"]!.AsArray());
        Assert.Equal((string?)known["id"], (string?)candidate!["customer_id"]);
    }

    [Fact]
    public async Task Whom_an_upsert_or_a_forced_create_makes_waits_in_the_review_queue_with_those_who_may_be_the_same()
    {
        var body = $$$"""{"kind":"person","given_name":"Wilhelmina","family_name":"{{{NewName()}}}","emails":[{"address":"{{{NewEmail()}}}"}],"source":{"type":"enquiry"}}""";
        var shop = $"/v1/customers/by-external-id/shop/{Unique()}";
        var first = await MadeAsync(HttpMethod.Put, shop);
        Assert.Empty(await OpenAsync(first));
        var second = await MadeAsync(HttpMethod.Put, $"/v1/customers/by-external-id/crm/{Unique()}");
        Assert.Equal([second], await OpenAsync(first));
        Assert.Equal([first], await OpenAsync(second));
        var forced = await MadeAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=another+one");
        Assert.Equal(Sorted([first, second]), await OpenAsync(forced));
        var atOnce = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => MadeAsync(HttpMethod.Put, $"/v1/customers/by-external-id/web/{Unique()}")));
        Assert.Equal(Sorted([first, second, forced, .. atOnce[1..]]), await OpenAsync(atOnce[0]));

        // Somebody else is nobody's twin, and what is changed only is compared by the next scan.
        var (_, other) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{Unique()}", Person("Otto", NewName(), null));
        Assert.Empty(await OpenAsync((string)other["id"]!));
        await SendAsync(HttpMethod.Put, shop, """{"tier":"gold"}""");
        Assert.Equal(5, (await OpenAsync(first)).Count);

        async Task<string> MadeAsync(HttpMethod method, string path)
        {
            var (response, created) = await SendAsync(method, path, body);
            Assert.True(response.StatusCode == HttpStatusCode.Created, created.ToJsonString());
            return (string)created["id"]!;
        }

        async Task<IReadOnlyList<string>> OpenAsync(string customer)
        {
            var (_, open) = await SendAsync(HttpMethod.Get, $"/v1/duplicates?customer_id={customer}");
            return Sorted(open["data"]!.AsArray().Select(p => p!["customers"]!.AsArray().Select(c => (string)c!["customer_id"]!).Single(c => c != customer)));
        }

        static IReadOnlyList<string> Sorted(IEnumerable<string> ids) => [.. ids.Order(StringComparer.Ordinal)];
    }

    [Fact]
    public async Task A_suspicion_is_explained_field_by_field()
    {
        var name = NewName();
        await PersonAsync("Robert", name, "1962-03-14");
        var (_, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Person("Bob", name, "1962-03-14"));
        var candidate = problem["candidates"]![0]!;
        Assert.Equal(["given_name", "family_name", "birth_date"], candidate["agreed"]!.AsArray().Select(f => (string?)f));
        Assert.Equal(
            ["given_name variant", "family_name exact", "birth_date exact"],
            candidate["fields"]!.AsArray().Select(f => $"{f!["field"]} {f["level"]}"));
        Explanations.AddUp(candidate);
        Assert.InRange((double)candidate["probability"]!, 0.8, 1);
    }

    [Fact]
    public async Task Namesakes_and_families_are_created_without_a_question()
    {
        var name = NewName();
        await PersonAsync("Wilhelm", name, "1932-05-01", "7 Elm Road");
        await CreateAsync(Person("Wilhelm", name, null));
        await CreateAsync(Person("Wilhelm", name, "1962-03-14", "7 Elm Road"));
        await CreateAsync(Person("Mathilda", name, "1932-05-01", "7 Elm Road"));
    }

    [Fact]
    public async Task Of_fifty_identical_creates_without_a_mailbox_one_makes_a_row()
    {
        var body = Person("Wilhelmina", NewName(), "1962-03-14");
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => SendAsync(HttpMethod.Post, "/v1/customers", body)));
        var created = Assert.Single(answers, a => a.Response.StatusCode == HttpStatusCode.Created);
        Assert.All(answers.Where(a => a.Response.StatusCode != HttpStatusCode.Created), a =>
        {
            AssertProblem(a.Response, a.Body, 409, "duplicate_suspected");
            Assert.Equal((string?)created.Body["id"], (string?)a.Body["candidates"]![0]!["customer_id"]);
        });
    }

    [Theory, InlineData("Wilhelmina"), InlineData("Test"), InlineData(null)]
    public async Task Of_fifty_identical_creates_of_which_only_names_are_known_one_makes_a_row(string? given)
    {
        var body = given is null ? Firm($"{NewName()} Werke GmbH") : Person(given, NewName(), null);
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => SendAsync(HttpMethod.Post, "/v1/customers", body)));
        var created = Assert.Single(answers, a => a.Response.StatusCode == HttpStatusCode.Created);
        Assert.All(answers.Where(a => a.Response.StatusCode != HttpStatusCode.Created), a =>
        {
            AssertProblem(a.Response, a.Body, 409, "duplicate_suspected");
            Assert.Equal((string?)created.Body["id"], (string?)Assert.Single(a.Body["candidates"]!.AsArray())!["customer_id"]);
        });
    }

    [Fact]
    public async Task Whoever_has_the_same_names_is_suspected_only_where_nothing_tells_the_two_apart()
    {
        var name = NewName();
        var known = await PersonAsync("Wilhelmina", name, null);
        await CreatePersonAsync("Wilhelmina", name);
        await CreateAsync(Person("Wilhelmina", name, "1962-03-14"));
        await CreateAsync(Person("Wilhelmina", name, null).Replace("\"source\"", "\"attributes\":{\"rank\":\"admiral\"},\"source\"", StringComparison.Ordinal));
        foreach (var same in (string[])[Person("Wilhelmina", name, null), Person("WILHELMÍNA", name.ToUpperInvariant(), null), Person($"Wilhelmina {name}", null, null)])
        {
            var (refused, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", same);
            AssertProblem(refused, problem, 409, "duplicate_suspected", "/family_name");
            Assert.Equal((string?)known["id"], (string?)Assert.Single(problem["candidates"]!.AsArray())!["customer_id"]);
        }

        // One of the two names may be anybody's.
        await CreateAsync(Person(name, null, null));
        await CreateAsync(Person(name, null, null));
    }

    [Fact]
    public async Task Whom_nothing_tells_apart_is_created_with_a_reason_that_is_kept()
    {
        var body = Person("Wilhelmina", NewName(), null);
        var known = await CreateAsync(body);
        var (response, forced) = await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=her+cousin", body);
        Assert.Equal(HttpStatusCode.Created, response.StatusCode);
        Assert.NotEqual((string?)known["id"], (string?)forced["id"]);
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var kept = database.CreateCommand("""
            SELECT o.reason, cardinality(o.candidate_ids), EXISTS (SELECT FROM audit_entry a WHERE a.record_id = o.customer_id AND a.record_type = 'duplicate_override')
            FROM duplicate_overrides o WHERE o.customer_id = $1
            """);
        kept.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Crm.Contracts.Ids.Customer.Parse((string)forced["id"]!) });
        await using var row = await kept.ExecuteReaderAsync(Ct);
        Assert.True(await row.ReadAsync(Ct));
        Assert.Equal(("her cousin", 1, true), (row.GetString(0), row.GetInt32(1), row.GetBoolean(2)));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Whom_nothing_tells_apart_is_found_among_more_of_the_name_than_are_compared(bool firm)
    {
        var body = firm ? Firm(NewName()) : Person("Maria", NewName(), null);
        var known = await CreateAsync(body);
        var others = await Task.WhenAll(Enumerable.Range(0, 60).Select(_ => SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{Unique()}", body)));
        Assert.All(others, o => Assert.Equal(HttpStatusCode.Created, o.Response.StatusCode));
        var (refused, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", body);
        AssertProblem(refused, problem, 409, "duplicate_suspected");
        Assert.Equal((string?)known["id"], (string?)Assert.Single(problem["candidates"]!.AsArray())!["customer_id"]);
    }

    [Fact]
    public async Task An_organization_is_suspected_by_its_name_alone()
    {
        var name = NewName();
        var known = await CreateAsync(Firm($"{name} Werke GmbH"));
        foreach (var same in (string[])[$"{name} Werke GmbH", $"{name.ToUpperInvariant()} WÉRKE, GmbH."])
        {
            var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Firm(same));
            AssertProblem(response, problem, 409, "duplicate_suspected", "/name");
            Assert.Equal((string?)known["id"], (string?)Assert.Single(problem["candidates"]!.AsArray())!["customer_id"]);
        }

        await CreateAsync(Firm($"{name} Werke Ltd"));
        await CreateAsync(Firm($"{name} Bau GmbH"));
    }

    [Fact]
    public async Task Branches_of_one_name_at_different_addresses_are_created_without_a_question()
    {
        var name = NewName();
        await CreateAsync(Firm(name, "7 Elm Road"));
        await CreateAsync(Firm(name, "112 Market Square"));
    }

    [Fact]
    public async Task Of_fifty_identical_creates_of_an_organization_one_makes_a_row()
    {
        var body = Firm(NewName());
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => SendAsync(HttpMethod.Post, "/v1/customers", body)));
        Assert.Equal([201, .. Enumerable.Repeat(409, 49)], answers.Select(a => (int)a.Response.StatusCode).Order());
    }

    [Fact]
    public async Task A_number_that_more_customers_have_than_the_limit_proves_nothing()
    {
        var phone = $"+49{Random.Shared.NextInt64(1_000_000_000, 9_999_999_999)}";
        for (var i = 0; i < 21; i++)
        {
            var (response, _) = await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=office", WithPhone());
            Assert.Equal(HttpStatusCode.Created, response.StatusCode);
        }

        await CreateAsync(WithPhone());

        string WithPhone() => $$$"""{"kind":"person","given_name":"{{{NewName()}}}","phones":[{"number":"{{{phone}}}"}],"source":{"type":"enquiry"}}""";
    }

    [Fact]
    public async Task Whoever_was_renamed_is_found_by_the_new_name_and_no_longer_by_the_old()
    {
        var (old, now) = (NewName(), NewName());
        var known = await PersonAsync("Wilhelmina", old, "1962-03-14");
        var (patched, _) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{known["id"]}", $$"""{"family_name":"{{now}}"}""", ("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.OK, patched.StatusCode);
        var (refused, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", Person("Wilhelmina", now, "1962-03-14"));
        AssertProblem(refused, problem, 409, "duplicate_suspected");
        await CreateAsync(Person("Wilhelmina", old, "1962-03-14"));
    }

    [Fact]
    public async Task Customers_that_are_older_than_their_keys_get_them()
    {
        var name = NewName();
        var known = await PersonAsync("Wilhelmina", name, "1962-03-14");
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using (var forget = database.CreateCommand("UPDATE customers SET match_keys = NULL WHERE display_name = $1"))
        {
            forget.Parameters.Add(new NpgsqlParameter<string> { TypedValue = (string)known["display_name"]! });
            Assert.Equal(1, await forget.ExecuteNonQueryAsync(Ct));
        }

        await Eventually.GetAsync(
            async () => (await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=false", Person("Wilhelmina", name, "1962-03-14"))).Response.StatusCode,
            status => status == HttpStatusCode.Conflict, ct: Ct);
    }

    [Fact]
    public async Task Customers_whose_keys_an_earlier_release_made_otherwise_get_them_anew()
    {
        var known = await PersonAsync("सुनीता", NewName(), "1962-03-14");
        await using var database = await Fixture.DatabaseAsync("contacts");
        var keys = await KeysAsync();
        await using (var age = database.CreateCommand("""
            WITH aged AS (UPDATE customers SET match_keys = '{1}' WHERE display_name = $1 RETURNING id)
            INSERT INTO outdated_match_keys (customer_id) SELECT id FROM aged
            """))
        {
            age.Parameters.Add(new NpgsqlParameter<string> { TypedValue = (string)known["display_name"]! });
            Assert.Equal(1, await age.ExecuteNonQueryAsync(Ct));
        }

        await Eventually.GetAsync(KeysAsync, k => k == keys, ct: Ct);

        async Task<string> KeysAsync()
        {
            await using var read = database.CreateCommand("SELECT match_keys::text FROM customers WHERE display_name = $1");
            read.Parameters.Add(new NpgsqlParameter<string> { TypedValue = (string)known["display_name"]! });
            return (string)(await read.ExecuteScalarAsync(Ct))!;
        }
    }

    [Fact]
    public async Task Every_way_of_writing_a_customer_keeps_its_keys()
    {
        var name = NewName();
        var path = $"/v1/customers/by-external-id/shop/{Unique()}";
        await SendAsync(HttpMethod.Put, path, Person("Wilhelmina", name, "1962-03-14"));
        await SendAsync(HttpMethod.Put, path, """{"family_name":"Renamed"}""");
        using var lines = new StringContent(
            string.Join('\n', Enumerable.Range(0, 20).Select(i => Person($"Nr{i}", name, null))), System.Text.Encoding.UTF8, "application/x-ndjson");
        var import = JsonNode.Parse(await (await Client.PostAsync("/v1/imports", lines, Ct)).Content.ReadAsStringAsync(Ct))!;
        await Eventually.GetAsync(async () => (string?)(await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body["status"], s => s == "completed", ct: Ct);
        Assert.Equal((0, 0), await KeysAstrayAsync());

        await SendAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        await Eventually.GetAsync(async () => (string?)(await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body["status"], s => s == "undone", ct: Ct);
        Assert.Equal((0, 0), await KeysAstrayAsync());
    }

    /// <summary>Keys of active customers that are not in the table, and those in the table that are nobody's.</summary>
    private async Task<(long Missing, long Left)> KeysAstrayAsync()
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var command = database.CreateCommand("""
            WITH wanted AS (SELECT unnest(match_keys) AS key, id FROM customers WHERE state = 'active'), have AS (SELECT key, customer_id FROM duplicate_keys)
            SELECT (SELECT count(*) FROM (TABLE wanted EXCEPT TABLE have) AS missing), (SELECT count(*) FROM (TABLE have EXCEPT TABLE wanted) AS astray)
            """);
        await using var row = await command.ExecuteReaderAsync(Ct);
        Assert.True(await row.ReadAsync(Ct));
        return (row.GetInt64(0), row.GetInt64(1));
    }

    private static string NewName() => $"Qu{new string([.. Unique().Select(c => (char)('a' + (c % 25)))])}";

    private Task<JsonNode> PersonAsync(string given, string family, string? birth, string? street = null) => CreateAsync(Person(given, family, birth, street));

    private static string Firm(string name, string? street = null)
    {
        var firm = new JsonObject { ["kind"] = "organization", ["name"] = name, ["source"] = new JsonObject { ["type"] = "enquiry" } };
        if (street is not null)
        {
            firm["addresses"] = new JsonArray(new JsonObject { ["lines"] = new JsonArray(street), ["city"] = "Ware" });
        }

        return firm.ToJsonString();
    }

    private static string Person(string given, string? family, string? birth, string? street = null)
    {
        var person = new JsonObject { ["kind"] = "person", ["given_name"] = given, ["family_name"] = family, ["source"] = new JsonObject { ["type"] = "enquiry" } };
        if (birth is not null)
        {
            person["birth_date"] = birth;
        }

        if (street is not null)
        {
            person["addresses"] = new JsonArray(new JsonObject { ["lines"] = new JsonArray(street), ["city"] = "Ware", ["postal_code"] = "SG12 9AB" });
        }

        return person.ToJsonString();
    }
}
