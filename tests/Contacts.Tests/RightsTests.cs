using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Grpc.Core;
using Wire = Crm.Contracts.Contacts.V1;

namespace Contacts.Tests;

/// <summary>Who may see and change which field and whose record, asked in every way that Contacts answers.</summary>
public sealed class RightsTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    private const string LeftOut = "(left out)";

    /// <summary>What each role sees of one and the same customer; in this order, separated by blanks.</summary>
    private static readonly string[] Seen = ["given_name", "display_name", "emails/0/address", "phones/0/number", "addresses/0/lines/0", "addresses/0/country", "birth_date", "attributes/shoe"];

    [Theory]
    [InlineData("manager", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", "1815-12-10", "38")]
    [InlineData("auditor", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", "1815-12-10", "38")]
    [InlineData("sales", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", LeftOut, "38")]
    [InlineData("support", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", "1815-12-10", LeftOut)]
    [InlineData("accounting", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", LeftOut, LeftOut)]
    [InlineData("partner", "Ada", "Ada *", "*@example.com", "+4420#00", "12 St James's Sq", "GB", LeftOut, LeftOut)]
    [InlineData("marketing", "Ada", "Ada *", "a•••@e•••.com", "+44 ••• ••00", "1•••", "GB", LeftOut, "38")]
    [InlineData("analyst", "A•••", "A•••", "a•••@e•••.com", "+44 ••• ••00", "1•••", "GB", LeftOut, "38")]
    [InlineData("nobody-knows-it", LeftOut, LeftOut, LeftOut, LeftOut, LeftOut, LeftOut, LeftOut, LeftOut)]
    public async Task A_role_sees_the_same_of_a_customer_read_listed_found_upserted_and_in_its_history(string role, params string[] expected)
    {
        var word = $"a{Unique()}";
        // Nobody else's test may take her for its own customer.
        var digits = Random.Shared.Next(100_000, 1_000_000).ToString(System.Globalization.CultureInfo.InvariantCulture);
        expected = [.. expected.Select(e => e.Replace("*", word, StringComparison.Ordinal).Replace("#", digits, StringComparison.Ordinal))];
        var created = await CreateAsync($$$"""
            {"kind":"person","given_name":"Ada","family_name":"{{{word}}}","birth_date":"1815-12-10","emails":[{"address":"{{{word}}}@example.com"}],
             "phones":[{"number":"+4420{{{digits}}}00"}],"addresses":[{"lines":["12 St James's Sq"],"country":"GB"}],"attributes":{"shoe":38},
             "external_ids":[{"system":"shop","id":"{{{word}}}"}],"source":{"type":"enquiry"}}
            """, "?allow_duplicate=true&reason=another+one");
        var path = $"/v1/customers/{created["id"]}";
        using var caller = In(role, Scopes.CustomersRead);

        Assert.Equal(expected, Look(await GetAsync(caller, path)));
        Assert.Equal(expected, Look((await GetAsync(caller, $"/v1/customers?external_id=shop:{word}"))["data"]![0]!));
        Assert.Equal(expected, Look(await GetAsync(caller, $"/v1/customers/by-external-id/shop/{word}")));
        if (expected[0] == "Ada")
        {
            Assert.Equal(expected, Look((await GetAsync(caller, $"/v1/customers?q={word}"))["data"]!.AsArray().Single(c => (string?)c!["id"] == (string?)created["id"])!));
        }

        var changes = (await GetAsync(caller, $"{path}/history"))["data"]![0]!["changes"]!.AsArray().ToDictionary(c => (string)c!["field"]!, c => c!["new"]);
        var recorded = new JsonObject(changes.Select(c => KeyValuePair.Create(c.Key, c.Value?.DeepClone())));
        if (changes.TryGetValue("attributes.shoe", out var shoe))
        {
            recorded["attributes"] = new JsonObject { ["shoe"] = shoe?.DeepClone() };
        }

        var inHistory = Look(recorded);
        Assert.Equal([.. expected.Where((_, i) => Seen[i] != "display_name")], inHistory.Where((_, i) => Seen[i] != "display_name"));

        var overGrpc = await Grpc().GetCustomerAsync(new() { Id = (string)created["id"]! }, Headers(role), cancellationToken: Ct);
        Assert.Equal(expected.Select(e => e == LeftOut ? "" : e), Look(overGrpc));
    }

    [Theory]
    [InlineData("sales", """{"birth_date":"1815-12-10"}""", "/birth_date")]
    [InlineData("support", """{"attributes":{"shoe":40}}""", "/attributes")]
    [InlineData("support", """{"given_name":"Augusta","attributes":null}""", "/attributes")]
    public async Task A_field_that_a_role_does_not_write_is_refused_by_name_and_nothing_changes(string role, string patch, string pointer)
    {
        var created = await CreateAsync("""{"kind":"person","given_name":"Ada","birth_date":"1815-12-11","attributes":{"shoe":38},"source":{"type":"enquiry"}}""", "?allow_duplicate=true&reason=another+one");
        using var caller = In(role, Scopes.CustomersRead, Scopes.CustomersWrite);
        foreach (var (method, path, json) in new[]
        {
            (HttpMethod.Patch, $"/v1/customers/{created["id"]}", patch),
            (HttpMethod.Put, $"/v1/customers/by-external-id/rights/{Unique()}", $"{patch[..^1]},\"kind\":\"person\",\"family_name\":\"B\"}}"),
        })
        {
            var (response, body) = await SendAsync(caller, method, path, json);
            AssertProblem(response, body, 403, "field_forbidden", pointer);
        }

        Assert.Equal(1, (int)(await GetAsync(Client, $"/v1/customers/{created["id"]}"))["version"]!);
        var (allowed, _) = await SendAsync(caller, HttpMethod.Patch, $"/v1/customers/{created["id"]}", """{"given_name":"Augusta"}""");
        Assert.Equal(HttpStatusCode.OK, allowed.StatusCode);
        var (_, now) = await SendAsync(HttpMethod.Get, $"/v1/customers/{created["id"]}");
        Assert.Equal(("Augusta", "1815-12-11", 38), ((string?)now["given_name"], (string?)now["birth_date"], (int?)now["attributes"]!["shoe"]));
    }

    [Fact]
    public async Task Masked_values_that_come_back_never_replace_the_real_ones()
    {
        var email = NewEmail();
        var created = await CreatePersonAsync(email: email);
        var path = $"/v1/customers/{created["id"]}";
        using var caller = In("marketing", Scopes.CustomersRead, Scopes.CustomersWrite);
        var masked = await GetAsync(caller, path);
        var (response, body) = await SendAsync(caller, HttpMethod.Patch, path, $$"""{"emails":{{masked["emails"]!.ToJsonString()}}}""");
        AssertProblem(response, body, 403, "field_forbidden", "/emails");
        var (post, problem) = await SendAsync(caller, HttpMethod.Post, "/v1/customers", $$"""{"kind":"organization","emails":{{masked["emails"]!.ToJsonString()}}}""");
        AssertProblem(post, problem, 403, "field_forbidden", "/emails/0/address");
        Assert.Equal(email, (string?)(await GetAsync(Client, path))["emails"]![0]!["address"]);
    }

    [Fact]
    public async Task What_a_role_does_not_see_it_cannot_ask_for_either()
    {
        var email = NewEmail();
        var created = await CreatePersonAsync("Ada", Unique(), email);
        using var marketing = In("marketing", Scopes.CustomersRead, Scopes.CustomersWrite);
        using var analyst = In("analyst", Scopes.CustomersRead);
        foreach (var (caller, query, parameter) in new[] { (marketing, $"email={email}", "email"), (marketing, "phone=%2B442079460000", "phone"), (analyst, "q=ada", "q") })
        {
            var (response, body) = await SendAsync(caller, HttpMethod.Get, $"/v1/customers?{query}");
            AssertProblem(response, body, 403, "field_forbidden", parameter);
        }

        Assert.Empty((await GetAsync(marketing, $"/v1/customers?q={email}"))["data"]!.AsArray());
        Assert.Single((await GetAsync(Client, $"/v1/customers?q={email}"))["data"]!.AsArray());
        var (history, hidden) = await SendAsync(marketing, HttpMethod.Get, $"/v1/customers/{created["id"]}/history?field=emails");
        AssertProblem(history, hidden, 403, "field_forbidden", "field");
        var (upsert, match) = await SendAsync(marketing, HttpMethod.Put, $"/v1/customers/by-external-id/rights/{Unique()}?match_on=email", $$"""{"emails":[{"address":"{{email}}"}]}""");
        AssertProblem(upsert, match, 403, "field_forbidden", "match_on");
    }

    [Fact]
    public async Task An_import_and_its_undo_need_the_right_to_every_field()
    {
        using var caller = In("sales", Scopes.ImportsWrite, Scopes.ImportsRead);
        using var file = new StringContent("kind,given_name\nperson,Ada\n", Encoding.UTF8, "text/csv");
        using var response = await caller.PostAsync("/v1/imports", file, Ct);
        AssertProblem(response, JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!, 403, "field_forbidden");
    }

    [Fact]
    public async Task A_proof_of_consent_is_for_those_who_may_see_it()
    {
        var created = await CreatePersonAsync();
        var path = $"/v1/customers/{created["id"]}/consents";
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","wording":"Yes","ip":"192.0.2.7"}""");
        using var sales = In("sales", Scopes.ConsentsRead, Scopes.ConsentsWrite);
        using var marketing = In("marketing", Scopes.ConsentsRead);
        var hidden = (await GetAsync(sales, path))["history"]![0]!.AsObject();
        Assert.Equal("granted", (string?)hidden["state"]);
        Assert.Empty(hidden.Select(m => m.Key).Intersect(["ip", "wording", "wording_version", "evidence"]));
        Assert.Equal("192.0.2.7", (string?)(await GetAsync(marketing, path))["history"]![0]!["ip"]);
        var (refused, body) = await SendAsync(sales, HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","ip":"192.0.2.7"}""");
        AssertProblem(refused, body, 403, "field_forbidden", "/ip");
        var (accepted, _) = await SendAsync(sales, HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"phone"}""");
        Assert.Equal(HttpStatusCode.Created, accepted.StatusCode);
    }

    [Fact]
    public async Task Another_department_reads_a_record_and_does_not_change_it()
    {
        var created = await CreateAsync("""{"kind":"person","given_name":"Ada","department":"warehouse","source":{"type":"enquiry"}}""");
        var path = $"/v1/customers/{created["id"]}";
        using var owner = Of("warehouse");
        using var service = Of("service");
        Assert.Equal("Ada", (string?)(await GetAsync(service, path))["given_name"]);
        var (refused, body) = await SendAsync(service, HttpMethod.Patch, path, """{"tier":"gold"}""");
        AssertProblem(refused, body, 403, "department_forbidden", "/department");
        var (upsert, again) = await SendAsync(service, HttpMethod.Put, $"/v1/customers/by-external-id/rights/{Unique()}", """{"kind":"person","given_name":"B","source":{"type":"enquiry"}}""");
        Assert.True(upsert.IsSuccessStatusCode, again.ToJsonString());
        var (changed, _) = await SendAsync(owner, HttpMethod.Patch, path, """{"tier":"gold"}""");
        Assert.Equal(HttpStatusCode.OK, changed.StatusCode);
        var entry = (string?)(await GetAsync(service, $"{path}/history"))["data"]![0]!["id"];
        var (restore, notOurs) = await SendAsync(service, HttpMethod.Post, $"{path}/history/{entry}/restore", """{"fields":["tier"]}""");
        AssertProblem(restore, notOurs, 403, "department_forbidden", "/department");
        using var file = new StringContent("kind,given_name\nperson,Ada\n", Encoding.UTF8, "text/csv");
        using var import = await service.PostAsync("/v1/imports", file, Ct);
        AssertProblem(import, JsonNode.Parse(await import.Content.ReadAsStringAsync(Ct))!, 403, "department_forbidden");
    }

    [Fact]
    public async Task A_legal_hold_is_set_and_lifted_by_the_department_that_owns_the_customer_and_no_other()
    {
        var created = await CreateAsync("""{"kind":"person","given_name":"Ada","department":"warehouse","source":{"type":"enquiry"}}""");
        var path = $"/v1/customers/{created["id"]}/legal-holds";
        using var owner = Of("warehouse");
        using var service = Of("service");
        var (set, notTheirs) = await SendAsync(service, HttpMethod.Post, path, """{"reason":"A lawsuit"}""");
        AssertProblem(set, notTheirs, 403, "department_forbidden", "/department");

        var (_, hold) = await SendAsync(owner, HttpMethod.Post, path, """{"reason":"A lawsuit"}""");
        var (lift, refused) = await SendAsync(service, HttpMethod.Post, $"{path}/{hold["id"]}/lift", """{"reason":"In the way"}""");
        AssertProblem(lift, refused, 403, "department_forbidden", "/department");
        Assert.Null((string?)Assert.Single((await GetAsync(service, path))["data"]!.AsArray())!["lifted_at"]);

        var (lifted, now) = await SendAsync(owner, HttpMethod.Post, $"{path}/{hold["id"]}/lift", """{"reason":"Settled"}""");
        Assert.Equal((HttpStatusCode.OK, "Settled"), (lifted.StatusCode, (string?)now["lift_reason"]));
    }

    [Fact]
    public async Task What_a_person_says_of_mail_is_taken_down_by_whichever_department_hears_it()
    {
        var created = await CreateAsync("""{"kind":"person","given_name":"Ada","department":"warehouse","source":{"type":"enquiry"}}""");
        var path = $"/v1/customers/{created["id"]}/consents";
        using var service = Of("service");
        var (said, statement) = await SendAsync(service, HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"phone"}""");
        Assert.Equal((HttpStatusCode.Created, "key_department"), (said.StatusCode, (string?)statement["actor"]));
    }

    [Theory]
    [InlineData("attribute")]
    [InlineData("department")]
    public async Task A_caller_with_a_row_filter_sees_its_customers_and_nobody_else_by_any_way(string kind)
    {
        var partner = $"p-{Unique()}";
        using var caller = Rows(kind == "attribute" ? new RowFilter { Attribute = "distributor", Value = partner } : new RowFilter { Departments = [partner] });
        var (name, email, external) = ($"Zoe{Unique()}", NewEmail(), Unique());
        var theirs = await CreateAsync($$$"""{"kind":"person","family_name":"{{{name}}}","emails":[{"address":"{{{email}}}"}],"external_ids":[{"system":"rows","id":"{{{external}}}"}],"attributes":{"distributor":"other"},"department":"other","source":{"type":"enquiry"}}""");

        // What it creates is its own, though it does not say so; somebody else's e-mail address is no hint.
        var (response, own) = await SendAsync(caller, HttpMethod.Post, "/v1/customers", $$$"""{"kind":"person","family_name":"{{{name}}}","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""");
        Assert.True(response.StatusCode == HttpStatusCode.Created, own.ToJsonString());
        Assert.Equal(partner, kind == "attribute" ? (string?)own["attributes"]!["distributor"] : (string?)own["department"]);

        string Id(JsonNode customer) => (string)customer["id"]!;
        foreach (var query in new[] { "", $"?q={name}", $"?q={email}", $"?email={email}", $"?updated_at[gte]=2020-01-01T00:00:00Z" })
        {
            Assert.Equal([Id(own)], (await GetAsync(caller, $"/v1/customers{query}"))["data"]!.AsArray().Select(c => Id(c!)));
        }

        Assert.Empty((await GetAsync(caller, $"/v1/customers?external_id=rows:{external}"))["data"]!.AsArray());
        foreach (var (method, path, json) in new[]
        {
            (HttpMethod.Get, $"/v1/customers/{Id(theirs)}", null),
            (HttpMethod.Get, $"/v1/customers/by-external-id/rows/{external}", null),
            (HttpMethod.Patch, $"/v1/customers/{Id(theirs)}", """{"tier":"gold"}"""),
            (HttpMethod.Get, $"/v1/customers/{Id(theirs)}/history", null),
            (HttpMethod.Get, $"/v1/customers/{Id(theirs)}/consents", null),
            (HttpMethod.Post, $"/v1/customers/{Id(theirs)}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}"""),
        })
        {
            var (hidden, problem) = await SendAsync(caller, method, path, json);
            AssertProblem(hidden, problem, 404, "not_found");
        }

        var (taken, exists) = await SendAsync(caller, HttpMethod.Put, $"/v1/customers/by-external-id/rows/{external}", """{"kind":"person","family_name":"B","source":{"type":"enquiry"}}""");
        AssertProblem(taken, exists, 409, "already_exists");
        Assert.DoesNotContain(Id(theirs), exists.ToJsonString(), StringComparison.Ordinal);
        var (escape, kept) = await SendAsync(caller, HttpMethod.Patch, $"/v1/customers/{Id(own)}", kind == "attribute" ? """{"attributes":{"distributor":"other"}}""" : """{"department":"other"}""");
        AssertProblem(escape, kept, 403, "field_forbidden");
        var (changed, now) = await SendAsync(caller, HttpMethod.Patch, $"/v1/customers/{Id(own)}", kind == "attribute" ? """{"attributes":{"distributor":null},"tier":"gold"}""" : """{"department":null,"tier":"gold"}""");
        Assert.True(changed.IsSuccessStatusCode, now.ToJsonString());
        Assert.Equal("gold", (string?)(await GetAsync(caller, $"/v1/customers/{Id(own)}"))["tier"]);

        var client = Grpc();
        var headers = new Metadata { { "authorization", caller.DefaultRequestHeaders.Authorization!.ToString() } };
        Assert.Equal(Id(own), (await client.GetCustomerAsync(new() { Id = Id(own) }, headers, cancellationToken: Ct)).Snapshot.Id);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () => await client.GetCustomerAsync(new() { Id = Id(theirs) }, headers, cancellationToken: Ct))).StatusCode);
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await client.ResolveCustomerAsync(new() { Email = email }, headers, cancellationToken: Ct))).StatusCode);
    }

    [Fact]
    public async Task What_was_not_declared_to_keep_to_rows_is_closed_to_a_row_filter()
    {
        using var caller = Rows(new RowFilter { Attribute = "distributor", Value = "acme" });
        foreach (var path in new[] { "/v1/merges", "/v1/imports" })
        {
            var (response, body) = await SendAsync(caller, HttpMethod.Get, path);
            AssertProblem(response, body, 403, "forbidden");
        }
    }

    [Fact]
    public async Task A_caller_with_a_row_filter_decides_about_no_change_of_its_customers()
    {
        var partner = $"p-{Unique()}";
        using var caller = Rows(new RowFilter { Attribute = "distributor", Value = partner });
        var id = (string)(await CreateAsync($$$"""{"kind":"person","given_name":"Ada","department":"sales","attributes":{"distributor":"{{{partner}}}"},"source":{"type":"enquiry"}}"""))["id"]!;
        using var asker = Of("support");
        var (asked, request) = await SendAsync(asker, HttpMethod.Delete, $"/v1/customers/{id}");
        Assert.Equal(HttpStatusCode.Accepted, asked.StatusCode);
        foreach (var (decision, body) in new[] { ("approve", "{}"), ("reject", """{"reason":"No"}""") })
        {
            var (response, problem) = await SendAsync(caller, HttpMethod.Post, $"/v1/change-requests/{request["id"]}/{decision}", body);
            AssertProblem(response, problem, 403, "forbidden");
        }

        Assert.Equal("pending", (string?)(await GetAsync(caller, $"/v1/change-requests/{request["id"]}"))["status"]);
    }

    private HttpClient In(string role, params string[] scopes) => As(new("key_role", scopes, [role], []));

    private HttpClient Of(string department) => As(new("key_department", Scopes.All, [], [department]));

    private HttpClient Rows(RowFilter rows) => As(new("key_partner", Scopes.All, [], [], rows));

    private Metadata Headers(string role) => new() { { "authorization", $"Bearer {Fixture.Token(new TokenSubject("key_role", [Scopes.CustomersRead], [role], []))}" } };

    private async Task<JsonNode> CreateAsync(string json, string query)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, $"/v1/customers{query}", json);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }

    private static IEnumerable<string> Look(JsonNode customer) => Seen.Select(path =>
    {
        JsonNode? at = customer;
        foreach (var step in path.Split('/'))
        {
            at = at is JsonArray list ? list[int.Parse(step, System.Globalization.CultureInfo.InvariantCulture)] : at?[step];
        }

        return at?.ToString() ?? LeftOut;
    }).ToList();

    private static string[] Look(Wire.Customer c) =>
    [
        c.Snapshot.GivenName, c.Snapshot.DisplayName, c.Emails.FirstOrDefault()?.Address ?? "", c.Phones.FirstOrDefault()?.Number ?? "", c.Addresses.FirstOrDefault()?.Lines[0] ?? "",
        c.Addresses.FirstOrDefault()?.Country ?? "", c.BirthDate, c.Snapshot.AttributesJson.Length == 0 ? "" : (string)JsonNode.Parse(c.Snapshot.AttributesJson)!["shoe"]!.ToString(),
    ];
}
