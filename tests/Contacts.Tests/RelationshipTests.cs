using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;

namespace Contacts.Tests;

/// <summary>What customers are to one another: hierarchy, roles, relations between organisations, buying groups.</summary>
public sealed class RelationshipTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task The_whole_organisation_is_one_tree_whichever_member_is_asked()
    {
        var (group, company, branch, shop, other) = (await FirmAsync("Group"), await FirmAsync("Company"), await FirmAsync("Branch"), await FirmAsync("Shop"), await FirmAsync("Other"));
        await RelateAsync(company, "subsidiary", group);
        await RelateAsync(branch, "branch", company);
        await RelateAsync(shop, "location", branch);
        await RelateAsync(other, "subsidiary", group);
        foreach (var member in new[] { group, shop, other })
        {
            var tree = await GetAsync($"/v1/customers/{member}/hierarchy");
            Assert.False((bool)tree["truncated"]!);
            Assert.Equal(
                [$"0 Group  ", $"1 Company subsidiary {group}", $"1 Other subsidiary {group}", $"2 Branch branch {company}", $"3 Shop location {branch}"],
                tree["data"]!.AsArray().Select(m => $"{m!["level"]} {m["display_name"]} {m["type"]} {m["parent_id"]}"));
        }
    }

    [Fact]
    public async Task Who_sees_no_names_is_not_told_of_them_by_the_order_of_an_organisation()
    {
        var (group, last, first) = (await FirmAsync("Group"), await FirmAsync("Mz"), await FirmAsync("Ma"));
        await RelateAsync(last, "subsidiary", group);
        await RelateAsync(first, "subsidiary", group);
        Assert.Equal([group, first, last], Members(await GetAsync($"/v1/customers/{group}/hierarchy")));
        foreach (var role in (string[])["analyst", "nobody-knows-it"])
        {
            using var caller = As(new("key_role", [Scopes.CustomersRead], [role], []));
            // By their ids: Mz was made before Ma.
            Assert.Equal([group, last, first], Members(await GetAsync(caller, $"/v1/customers/{group}/hierarchy")));
        }

        static IEnumerable<string?> Members(JsonNode tree) => tree["data"]!.AsArray().Select(m => (string?)m!["id"]);
    }

    [Fact]
    public async Task An_organisation_never_belongs_to_itself_nor_to_two()
    {
        var (a, b, c) = (await FirmAsync("A"), await FirmAsync("B"), await FirmAsync("C"));
        await RelateAsync(b, "branch", a);
        var last = await RelateAsync(c, "location", b);
        var (closing, cycle) = await PostAsync(a, $$"""{"type":"subsidiary","to_id":"{{c}}"}""");
        AssertProblem(closing, cycle, 422, "unprocessable", "/to_id");
        var (itself, self) = await PostAsync(a, $$"""{"type":"branch","to_id":"{{a}}"}""");
        AssertProblem(itself, self, 422, "unprocessable", "/to_id");
        var (twice, second) = await PostAsync(c, $$"""{"type":"branch","to_id":"{{a}}"}""");
        AssertProblem(twice, second, 409, "conflict", "/to_id");
        Assert.Equal((string?)last["id"], (string?)second["existing_id"]);

        // Once it has ended, the other way is free.
        var (ended, _) = await SendAsync(HttpMethod.Patch, $"/v1/relationships/{last["id"]}", """{"starts_on":"2020-01-01","ends_on":"2020-12-31"}""", ("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.OK, ended.StatusCode);
        await RelateAsync(a, "subsidiary", c);
        Assert.Equal(["C", "A", "B"], (await GetAsync($"/v1/customers/{b}/hierarchy"))["data"]!.AsArray().Select(m => (string?)m!["display_name"]));
        Assert.Equal(["A", "B", "C"], (await GetAsync($"/v1/customers/{b}/hierarchy?at=2020-06-01"))["data"]!.AsArray().Select(m => (string?)m!["display_name"]).Order());
    }

    [Fact]
    public async Task An_organisation_belongs_to_one_at_a_time_and_to_others_before_and_afterwards()
    {
        var (branch, past, present, next) = (await FirmAsync("Branch"), await FirmAsync("Past"), await FirmAsync("Present"), await FirmAsync("Next"));
        var first = await RelateAsync(branch, "branch", present, ""","ends_on":"2126-12-31" """);
        var (taken, conflict) = await PostAsync(branch, $$"""{"type":"branch","to_id":"{{next}}","starts_on":"2126-12-31"}""");
        AssertProblem(taken, conflict, 409, "conflict", "/to_id");
        Assert.Equal((string?)first["id"], (string?)conflict["existing_id"]);
        await RelateAsync(branch, "branch", next, ""","starts_on":"2127-01-01" """);
        // Nobody said that the present one was it already.
        await RelateAsync(branch, "branch", past, ""","starts_on":"2010-01-01","ends_on":"2019-12-31" """);
        var (both, same) = await PostAsync(branch, $$"""{"type":"branch","to_id":"{{next}}","starts_on":"2019-12-31","ends_on":"2020-01-31"}""");
        AssertProblem(both, same, 409, "conflict", "/to_id");

        // The other way round, once it is free; and no circle over what begins later.
        var (early, cycle) = await PostAsync(present, $$"""{"type":"subsidiary","to_id":"{{branch}}","starts_on":"2126-12-31"}""");
        AssertProblem(early, cycle, 422, "unprocessable", "/to_id");
        await RelateAsync(present, "subsidiary", branch, ""","starts_on":"2127-01-01" """);
        var (late, circle) = await PostAsync(next, $$"""{"type":"subsidiary","to_id":"{{present}}"}""");
        AssertProblem(late, circle, 422, "unprocessable", "/to_id");
        await RelateAsync(next, "subsidiary", present, ""","ends_on":"2126-12-31" """);
        foreach (var (day, tree) in new[] { ("2015-06-01", "Past Branch"), ("2127-06-01", "Next Branch Present") })
        {
            Assert.Equal(tree, string.Join(' ', (await GetAsync($"/v1/customers/{branch}/hierarchy?at={day}"))["data"]!.AsArray().Select(m => (string?)m!["display_name"])));
        }

        Assert.Equal([past], (await GetAsync($"/v1/relationships?customer_id={branch}&at=2015-06-01"))["data"]!.AsArray().Select(r => (string?)r!["to"]!["id"]));
    }

    [Fact]
    public async Task What_has_ended_does_not_come_back_beside_what_holds_since()
    {
        var (a, b, c) = (await FirmAsync("A"), await FirmAsync("B"), await FirmAsync("C"));
        var first = await RelateAsync(a, "branch", b, ""","ends_on":"2020-12-31" """);
        var path = $"/v1/relationships/{first["id"]}";
        var second = await RelateAsync(a, "branch", c);
        var (two, conflict) = await SendAsync(HttpMethod.Patch, path, """{"ends_on":null}""", ("If-Match", "\"1\""));
        AssertProblem(two, conflict, 409, "conflict");
        Assert.Equal((string?)second["id"], (string?)conflict["existing_id"]);
        await SendAsync(HttpMethod.Delete, $"/v1/relationships/{second["id"]}", headers: ("If-Match", "\"1\""));

        var other = await RelateAsync(b, "subsidiary", a);
        var (closing, cycle) = await SendAsync(HttpMethod.Patch, path, """{"ends_on":null}""", ("If-Match", "\"1\""));
        AssertProblem(closing, cycle, 422, "unprocessable");
        Assert.Equal(("2020-12-31", 1), ((string?)(await GetAsync(path))["ends_on"], (int)(await GetAsync(path))["version"]!));

        await SendAsync(HttpMethod.Delete, $"/v1/relationships/{other["id"]}", headers: ("If-Match", "\"1\""));
        var (free, open) = await SendAsync(HttpMethod.Patch, path, """{"ends_on":null}""", ("If-Match", "\"1\""));
        Assert.True(free.StatusCode == HttpStatusCode.OK, open.ToJsonString());
    }

    [Fact]
    public async Task What_a_person_is_somewhere_already_is_not_said_again_by_a_change_and_can_always_be_said_of_fewer_days()
    {
        var (person, firm) = (await PersonAsync(), await FirmAsync("Firm"));
        var chief = await RelateAsync(person, "role", firm, ""","role":"chief" """);
        var clerk = await RelateAsync(person, "role", firm, ""","role":"clerk" """);
        var path = $"/v1/relationships/{clerk["id"]}";
        var (twice, said) = await SendAsync(HttpMethod.Patch, path, """{"role":"chief"}""", ("If-Match", "\"1\""));
        AssertProblem(twice, said, 409, "conflict");
        Assert.Equal((string?)chief["id"], (string?)said["existing_id"]);
        var (fewer, ended) = await SendAsync(HttpMethod.Patch, path, """{"role":"chief","starts_on":"2010-01-01","ends_on":"2012-12-31"}""", ("If-Match", "\"1\""));
        Assert.True(fewer.StatusCode == HttpStatusCode.OK, ended.ToJsonString());
    }

    [Fact]
    public async Task Of_two_who_would_close_a_circle_at_once_one_is_refused()
    {
        var (a, b) = (await FirmAsync("A"), await FirmAsync("B"));
        var answers = await Task.WhenAll(PostAsync(a, $$"""{"type":"branch","to_id":"{{b}}"}"""), PostAsync(b, $$"""{"type":"branch","to_id":"{{a}}"}"""));
        Assert.Equal([201, 422], answers.Select(x => (int)x.Response.StatusCode).Order());
    }

    [Fact]
    public async Task The_graph_reaches_two_hops_and_no_further()
    {
        var (maker, dealer, shop, buyer, far) = (await FirmAsync("Maker"), await FirmAsync("Dealer"), await FirmAsync("Outlet"), await PersonAsync(), await FirmAsync("Far"));
        await RelateAsync(maker, "supplier", dealer);
        await RelateAsync(shop, "retail_outlet", dealer);
        await RelateAsync(buyer, "role", shop, ""","role":"head of purchasing","starts_on":"2020-01-01" """);
        await RelateAsync(far, "regulator", shop);
        var graph = await GetAsync($"/v1/customers/{maker}/relationships?depth=2");
        Assert.Equal(
            new[] { $"0 {maker}", $"1 {dealer}", $"2 {shop}" },
            graph["customers"]!.AsArray().Select(n => $"{n!["distance"]} {n["id"]}"));
        Assert.Equal(["retail_outlet", "supplier"], graph["relationships"]!.AsArray().Select(r => (string?)r!["type"]).Order());
        Assert.Equal(2, (await GetAsync($"/v1/customers/{maker}/relationships"))["customers"]!.AsArray().Count);
        Assert.Equal(5, (await GetAsync($"/v1/customers/{dealer}/relationships?depth=2"))["customers"]!.AsArray().Count);
        Assert.Equal(4, (await GetAsync($"/v1/customers/{dealer}/relationships?depth=2&at=2019-12-31"))["customers"]!.AsArray().Count);
        var (wrong, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers/{maker}/relationships?depth=3");
        AssertProblem(wrong, problem, 400, "invalid_parameter", "depth");
    }

    [Fact]
    public async Task A_buying_group_is_found_by_its_purchase()
    {
        var (firm, chief, user, purchase) = (await FirmAsync("Buyer"), await PersonAsync(), await PersonAsync(), $"offer {Unique()}");
        await RelateAsync(chief, "buying_group", firm, $$""","role":"decision_maker","purchase":"{{purchase}}" """);
        await RelateAsync(user, "buying_group", firm, $$""","role":"user","purchase":"{{purchase}}" """);
        await RelateAsync(user, "buying_group", firm, $$""","role":"payer","purchase":"{{Unique()}}" """);
        var group = await GetAsync($"/v1/relationships?purchase={Uri.EscapeDataString(purchase)}");
        Assert.Equal([$"user {user}", $"decision_maker {chief}"], group["data"]!.AsArray().Select(r => $"{r!["role"]} {r["from"]!["id"]}"));
        Assert.Equal(2, (await GetAsync($"/v1/relationships?customer_id={user}&type=buying_group"))["data"]!.AsArray().Count);
        var (again, same) = await PostAsync(user, $$"""{"type":"buying_group","to_id":"{{firm}}","role":"user","purchase":"{{purchase}}"}""");
        AssertProblem(again, same, 409, "conflict", "/to_id");
    }

    public static TheoryData<string, string, int, string> Wrong => new()
    {
        { "person", """{"type":"role","to_id":"FIRM"}""", 400, "/role" },
        { "person", """{"type":"buying_group","to_id":"FIRM","role":"boss","purchase":"x"}""", 400, "/role" },
        { "person", """{"type":"buying_group","to_id":"FIRM","role":"user"}""", 400, "/purchase" },
        { "person", """{"type":"role","to_id":"FIRM","role":"clerk","purchase":"x"}""", 400, "/purchase" },
        { "person", """{"type":"role","to_id":"FIRM","role":"clerk","starts_on":"2020-02-01","ends_on":"2020-01-31"}""", 400, "/ends_on" },
        { "person", """{"type":"supplier","to_id":"FIRM"}""", 422, "/type" },
        { "firm", """{"type":"branch","to_id":"PERSON"}""", 422, "/to_id" },
        { "firm", """{"type":"supplier","to_id":"PERSON"}""", 422, "/to_id" },
        { "firm", """{"type":"supplier","to_id":"cus_00000000000000000000000000"}""", 422, "/to_id" },
        { "firm", """{"type":"supplier","to_id":"nobody"}""", 400, "/to_id" },
        { "firm", """{"type":"friend","to_id":"FIRM"}""", 400, "/type" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public async Task What_two_customers_cannot_be_to_one_another_is_refused(string from, string body, int status, string pointer)
    {
        var (person, firm) = (await PersonAsync(), await FirmAsync("Firm"));
        var (response, problem) = await PostAsync(from == "firm" ? firm : person, body
            .Replace("FIRM", from == "firm" ? await FirmAsync("Other") : firm, StringComparison.Ordinal).Replace("PERSON", person, StringComparison.Ordinal));
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Contains(pointer, problem["errors"]!.AsArray().Select(e => (string?)e!["pointer"]));
    }

    [Fact]
    public async Task A_relationship_is_changed_and_taken_back_under_its_version_and_both_are_audited()
    {
        var (person, firm) = (await PersonAsync(), await FirmAsync("Firm"));
        var id = (string)(await RelateAsync(person, "role", firm, ""","role":"clerk" """))["id"]!;
        var (missing, required) = await SendAsync(HttpMethod.Patch, $"/v1/relationships/{id}", """{"role":"chief"}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var (changed, chief) = await SendAsync(HttpMethod.Patch, $"/v1/relationships/{id}", """{"role":"chief"}""", ("If-Match", "\"1\""));
        Assert.Equal(("chief", "\"2\""), ((string?)chief["role"], changed.Headers.ETag!.Tag));
        var (cleared, invalid) = await SendAsync(HttpMethod.Patch, $"/v1/relationships/{id}", """{"role":null}""", ("If-Match", "\"2\""));
        AssertProblem(cleared, invalid, 400, "validation_failed", "/role");
        var (stale, old) = await SendAsync(HttpMethod.Delete, $"/v1/relationships/{id}", headers: ("If-Match", "\"1\""));
        AssertProblem(stale, old, 412, "stale_version");
        var (deleted, _) = await SendAsync(HttpMethod.Delete, $"/v1/relationships/{id}", headers: ("If-Match", "\"2\""));
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        var (gone, nothing) = await SendAsync(HttpMethod.Get, $"/v1/relationships/{id}");
        AssertProblem(gone, nothing, 404, "not_found");

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audit = database.CreateCommand("SELECT string_agg(action, ' ' ORDER BY at) FROM audit_entry WHERE record_type = 'relationship' AND record_id = $1");
        Assert.True(Crm.Contracts.Ids.Relationship.TryParse(id, out var key));
        audit.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = key });
        Assert.Equal("created updated deleted", await audit.ExecuteScalarAsync(Ct));
    }

    /// <summary>Firms of other tests may have its name.</summary>
    private async Task<string> FirmAsync(string name)
    {
        var (response, firm) = await SendAsync(
            HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"organization","name":"{{{name}}}","source":{"type":"enquiry"}}""");
        Assert.True(response.StatusCode == HttpStatusCode.Created, firm.ToJsonString());
        return (string)firm["id"]!;
    }

    private async Task<string> PersonAsync() => (string)(await CreatePersonAsync())["id"]!;

    private Task<(HttpResponseMessage Response, JsonNode Body)> PostAsync(string from, string json) => SendAsync(HttpMethod.Post, $"/v1/customers/{from}/relationships", json);

    private async Task<JsonNode> RelateAsync(string from, string type, string to, string more = "")
    {
        var (response, body) = await PostAsync(from, $$"""{"type":"{{type}}","to_id":"{{to}}"{{more}}}""");
        Assert.True(response.StatusCode == HttpStatusCode.Created, body.ToJsonString());
        return body;
    }

    private async Task<JsonNode> GetAsync(string path)
    {
        var (response, body) = await SendAsync(HttpMethod.Get, path);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }
}
