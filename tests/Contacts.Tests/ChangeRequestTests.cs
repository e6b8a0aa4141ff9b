using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;

namespace Contacts.Tests;

/// <summary>What becomes of a change of another department's record: an approval, or nothing.</summary>
public sealed class ChangeRequestTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_change_of_another_departments_record_waits_until_the_owner_approves_it_and_the_history_names_both()
    {
        var path = await NewAsync();
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var (accepted, asked) = await SendAsync(asker, HttpMethod.Patch, path, """{"given_name":" Augusta ","attributes":{"shoe":40,"hat":null},"tier":"gold"}""");
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        Assert.Equal($"/v1/change-requests/{asked["id"]}", accepted.Headers.Location?.OriginalString);
        Assert.Equal(("pending", "sales", "key_asker", 1L), ((string?)asked["status"], (string?)asked["department"], (string?)asked["requested_by"], (long)asked["record_version"]!));
        Assert.Equal(
            ["attributes {\"hat\":7,\"shoe\":38}>{\"hat\":null,\"shoe\":40}", "given_name \"Ada\">\"Augusta\"", "tier \"standard\">\"gold\""], Changes(asked));
        Assert.Equal(1, (int)(await GetAsync(owner, path))["version"]!);

        var (approved, done) = await SendAsync(owner, HttpMethod.Post, $"/v1/change-requests/{asked["id"]}/approve");
        Assert.True(approved.StatusCode == HttpStatusCode.OK, done.ToJsonString());
        Assert.Null(approved.Headers.ETag);
        Assert.Equal(("approved", "key_owner"), ((string?)done["status"], (string?)done["decided_by"]));
        var now = await GetAsync(owner, path);
        Assert.Equal(("Augusta", "gold", 40, 2), ((string?)now["given_name"], (string?)now["tier"], (int?)now["attributes"]!["shoe"], (int)now["version"]!));
        Assert.Null(now["attributes"]!["hat"]);
        var entry = (await GetAsync(owner, $"{path}/history"))["data"]![0]!;
        Assert.Equal(("key_owner", "key_asker", (string?)asked["id"], (string?)done["history_id"]),
            ((string?)entry["actor"], (string?)entry["requested_by"], (string?)entry["change_request_id"], (string?)entry["id"]));

        // What else was recorded: who asked and who approved.
        Assert.True(Ids.ChangeRequest.TryParse((string?)asked["id"], out var id));
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audit = database.CreateCommand("SELECT string_agg(action || ' ' || actor, ', ' ORDER BY id) FROM audit_entry WHERE record_type = 'change_request' AND record_id = $1");
        audit.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
        Assert.Equal("created key_asker, approved key_owner", await audit.ExecuteScalarAsync(Ct));
    }

    [Fact]
    public async Task Only_the_owner_decides_and_nobody_about_an_own_request()
    {
        var path = await NewAsync();
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var request = await AskAsync(asker, path, """{"tier":"gold"}""");
        using var third = Of("key_third", "marketing");
        using var moved = Of("key_asker", "sales");
        foreach (var (caller, verb, code) in new[]
        {
            (asker, "approve", "department_forbidden"), (third, "approve", "department_forbidden"), (third, "reject", "department_forbidden"),
            (moved, "approve", "forbidden"), (moved, "reject", "forbidden"), (owner, "withdraw", "forbidden"), (third, "withdraw", "forbidden"),
        })
        {
            var (refused, problem) = await SendAsync(caller, HttpMethod.Post, $"{request}/{verb}", verb == "reject" ? """{"reason":"No"}""" : null);
            AssertProblem(refused, problem, 403, code);
        }

        Assert.Equal("pending", (string?)(await GetAsync(third, request))["status"]);
        var (empty, without) = await SendAsync(owner, HttpMethod.Post, $"{request}/reject", "{}");
        AssertProblem(empty, without, 400, "validation_failed", "/reason");
        var (_, rejected) = await SendAsync(owner, HttpMethod.Post, $"{request}/reject", """{"reason":"She is not that good"}""");
        Assert.Equal(("rejected", "She is not that good"), ((string?)rejected["status"], (string?)rejected["reason"]));
        var (late, conflict) = await SendAsync(owner, HttpMethod.Post, $"{request}/approve");
        AssertProblem(late, conflict, 409, "conflict");
        var (unknown, nothing) = await SendAsync(owner, HttpMethod.Post, $"/v1/change-requests/{Ids.ChangeRequest.Format(Guid.CreateVersion7())}/approve");
        AssertProblem(unknown, nothing, 404, "not_found");

        var withdrawn = await AskAsync(asker, path, """{"tier":"vip"}""");
        Assert.Equal("withdrawn", (string?)(await SendAsync(asker, HttpMethod.Post, $"{withdrawn}/withdraw")).Body["status"]);
        Assert.Equal("withdrawn", (string?)(await SendAsync(asker, HttpMethod.Post, $"{withdrawn}/withdraw")).Body["status"]);
        Assert.Equal((1, "standard"), ((int)(await GetAsync(owner, path))["version"]!, (string?)(await GetAsync(owner, path))["tier"]));
    }

    [Fact]
    public async Task A_request_whose_fields_were_changed_since_is_outdated_for_good_unless_they_are_as_wanted()
    {
        var path = await NewAsync();
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var overtaken = await AskAsync(asker, path, """{"tier":"gold","attributes":{"shoe":40}}""");
        var other = await AskAsync(asker, path, """{"locale":"en-GB"}""");
        var same = await AskAsync(asker, path, """{"given_name":"Augusta"}""");
        await SendAsync(owner, HttpMethod.Patch, path, """{"attributes":{"shoe":41},"given_name":"Augusta"}""");

        for (var again = 0; again < 2; again++)
        {
            var (outdated, problem) = await SendAsync(owner, HttpMethod.Post, $"{overtaken}/approve");
            AssertProblem(outdated, problem, 409, "change_request_outdated", "/attributes");
            Assert.Equal("outdated", (string?)(await GetAsync(owner, overtaken))["status"]);
        }

        // Another field was changed: that is no reason. What is so already needs no change.
        Assert.Equal("approved", (string?)(await SendAsync(owner, HttpMethod.Post, $"{other}/approve")).Body["status"]);
        var (_, already) = await SendAsync(owner, HttpMethod.Post, $"{same}/approve");
        Assert.Equal(("approved", null), ((string?)already["status"], (string?)already["history_id"]));
        var now = await GetAsync(owner, path);
        Assert.Equal(("standard", 41, "en-GB", 3), ((string?)now["tier"], (int?)now["attributes"]!["shoe"], (string?)now["locale"], (int)now["version"]!));
    }

    [Fact]
    public async Task Of_many_approvals_at_once_one_has_an_effect()
    {
        var path = await NewAsync();
        using var asker = Of("key_asker", "support");
        var request = await AskAsync(asker, path, """{"tier":"gold"}""");
        var owners = Enumerable.Range(0, 8).Select(i => Of($"key_owner{i}", "sales")).ToList();
        var answers = await Task.WhenAll(owners.Select(o => SendAsync(o, HttpMethod.Post, $"{request}/approve")));
        Assert.All(answers, a => Assert.Equal(HttpStatusCode.OK, a.Response.StatusCode));
        Assert.Single(answers.Select(a => (string?)a.Body["decided_by"]).Distinct());
        Assert.Equal(2, (int)(await GetAsync(owners[0], path))["version"]!);
        Assert.Equal(2, (await GetAsync(owners[0], $"{path}/history"))["data"]!.AsArray().Count);
    }

    [Fact]
    public async Task A_request_is_a_valid_patch_within_the_rights_of_who_asks_and_of_who_approves()
    {
        var path = await NewAsync();
        using var asker = As(new("key_asker", Scopes.All, ["support"], ["support"]));
        var (hidden, forbidden) = await SendAsync(asker, HttpMethod.Patch, path, """{"attributes":{"shoe":40}}""");
        AssertProblem(hidden, forbidden, 403, "field_forbidden", "/attributes");
        var (wrong, invalid) = await SendAsync(asker, HttpMethod.Patch, path, """{"locale":"?"}""");
        AssertProblem(wrong, invalid, 400, "validation_failed", "/locale");
        var (stale, old) = await SendAsync(asker, HttpMethod.Patch, path, """{"tier":"gold"}""", ("If-Match", "\"7\""));
        AssertProblem(stale, old, 412, "stale_version");
        var (same, unchanged) = await SendAsync(asker, HttpMethod.Patch, path, """{"given_name":"Ada"}""");
        Assert.Equal((HttpStatusCode.OK, 1), (same.StatusCode, (int)unchanged["version"]!));
        Assert.Empty((await GetAsync(Client, $"/v1/change-requests?customer_id={path.Split('/')[^1]}"))["data"]!.AsArray());

        using var free = Of("key_free", "support");
        var request = await AskAsync(free, path, """{"given_name":"Augusta","attributes":{"shoe":40},"birth_date":"1815-12-10"}""");
        Assert.Equal(["birth_date null>\"1815-12-10\"", "given_name \"Ada\">\"Augusta\""], Changes(await GetAsync(asker, request)));
        using var analyst = As(new("key_analyst", Scopes.All, ["analyst"], []));
        Assert.Equal(["attributes {\"shoe\":38}>{\"shoe\":40}", "given_name \"A•••\">\"A•••\""], Changes(await GetAsync(analyst, request)));
        using var salesman = As(new("key_salesman", Scopes.All, ["sales"], ["sales"]));
        var (beyond, notHis) = await SendAsync(salesman, HttpMethod.Post, $"{request}/approve");
        AssertProblem(beyond, notHis, 403, "field_forbidden", "/birth_date");
        Assert.Equal("pending", (string?)(await GetAsync(free, request))["status"]);
    }

    [Fact]
    public async Task Requests_are_listed_by_status_and_customer_page_by_page_and_restoring_is_asked_for_too()
    {
        var path = await NewAsync();
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        await SendAsync(owner, HttpMethod.Patch, path, """{"tier":"gold"}""");
        var entry = (string?)(await GetAsync(asker, $"{path}/history"))["data"]![0]!["id"];
        var (restore, restoring) = await SendAsync(asker, HttpMethod.Post, $"{path}/history/{entry}/restore", """{"fields":["tier"]}""");
        Assert.Equal((HttpStatusCode.Accepted, "tier \"gold\">\"standard\""), (restore.StatusCode, Changes(restoring).Single()));
        var second = await AskAsync(asker, path, """{"tier":"vip"}""");
        await SendAsync(owner, HttpMethod.Post, $"{second}/reject", """{"reason":"No"}""");

        var query = $"/v1/change-requests?customer_id={path.Split('/')[^1]}";
        var first = await GetAsync(owner, $"{query}&limit=1");
        var next = await GetAsync(owner, $"{query}&limit=1&cursor={first["next_cursor"]}");
        Assert.Equal(["rejected", "pending"], new[] { first, next }.Select(p => (string?)p["data"]![0]!["status"]));
        Assert.False((bool)next["has_more"]!);
        Assert.Equal((string?)restoring["id"], (string?)(await GetAsync(owner, $"{query}&status=pending"))["data"]!.AsArray().Single()!["id"]);
        var (wrong, problem) = await SendAsync(owner, HttpMethod.Get, "/v1/change-requests?status=perhaps");
        AssertProblem(wrong, problem, 400, "invalid_parameter", "status");
    }

    [Fact]
    public async Task Who_sees_only_some_customers_sees_only_their_requests()
    {
        var distributor = Unique();
        var (own, other) = (await NewAsync($$"""{"distributor":"{{distributor}}"}"""), await NewAsync());
        using var rows = As(new("key_partner", Scopes.All, [], ["support"], new RowFilter { Attribute = "distributor", Value = distributor }));
        using var asker = Of("key_asker", "support");
        var mine = await AskAsync(rows, own, """{"tier":"gold"}""");
        var hidden = await AskAsync(asker, other, """{"tier":"gold"}""");
        Assert.Equal([mine], (await GetAsync(rows, "/v1/change-requests"))["data"]!.AsArray().Select(r => $"/v1/change-requests/{r!["id"]}"));
        var (unseen, problem) = await SendAsync(rows, HttpMethod.Get, hidden);
        AssertProblem(unseen, problem, 404, "not_found");
    }

    private async Task<string> NewAsync(string attributes = """{"shoe":38,"hat":7}""") => $"/v1/customers/{(await CreateAsync(
        $$$"""{"kind":"person","given_name":"Ada","department":"sales","attributes":{{{attributes}}},"source":{"type":"enquiry"}}"""))["id"]}";

    private static async Task<string> AskAsync(HttpClient caller, string path, string patch)
    {
        var (response, body) = await SendAsync(caller, HttpMethod.Patch, path, patch);
        Assert.True(response.StatusCode == HttpStatusCode.Accepted, body.ToJsonString());
        return $"/v1/change-requests/{body["id"]}";
    }

    private static IEnumerable<string> Changes(JsonNode request) => request["changes"]!.AsArray()
        .Select(c => $"{c!["field"]} {Text(c["old"])}>{Text(c["new"])}").Order(StringComparer.Ordinal);

    private static string Text(JsonNode? value) => value is JsonObject members
        ? $"{{{string.Join(',', members.OrderBy(m => m.Key, StringComparer.Ordinal).Select(m => $"\"{m.Key}\":{Text(m.Value)}"))}}}"
        : value is null ? "null" : value is JsonValue text && text.TryGetValue(out string? plain) ? $"\"{plain}\"" : value.ToJsonString();

    private HttpClient Of(string key, string department) => As(new(key, Scopes.All, [], [department]));
}
