using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Auth;
using Crm.Testing;

namespace Contacts.Tests;

/// <summary>Every way of writing that waits for another department's approval, and what overtakes it.</summary>
public sealed class ApprovalTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task An_upsert_of_another_departments_record_waits_and_is_carried_out_as_asked()
    {
        var external = Unique();
        var path = $"/v1/customers/{await NewAsync(external)}";
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var request = await AskAsync(asker, HttpMethod.Put, $"/v1/customers/by-external-id/approval/{external}", """{"tier":"gold","given_name":"Ada"}""");
        Assert.Equal("change_customer", (string?)(await GetAsync(owner, request))["operation"]);
        Assert.Equal("tier", (string?)(await GetAsync(owner, request))["changes"]!.AsArray().Single()!["field"]);
        // What changes nothing asks nobody.
        var (same, unchanged) = await SendAsync(asker, HttpMethod.Put, $"/v1/customers/by-external-id/approval/{external}", """{"given_name":"Ada"}""");
        Assert.Equal((HttpStatusCode.OK, "unchanged"), (same.StatusCode, (string?)unchanged["result"]));
        Assert.Equal("approved", (string?)(await ApproveAsync(owner, request))["status"]);
        Assert.Equal("gold", (string?)(await GetAsync(owner, path))["tier"]);
        var entry = (await GetAsync(owner, $"{path}/history"))["data"]![0]!;
        Assert.Equal(("key_owner", "key_asker"), ((string?)entry["actor"], (string?)entry["requested_by"]));
    }

    [Fact]
    public async Task Relationships_of_another_departments_customer_are_made_changed_and_deleted_by_approval()
    {
        var person = await NewAsync(Unique());
        var firm = (string)(await CreateAsync($$$"""{"kind":"organization","name":"Firm {{{Unique()}}}","source":{"type":"enquiry"}}"""))["id"]!;
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var (wrong, invalid) = await SendAsync(asker, HttpMethod.Post, $"/v1/customers/{person}/relationships", $$"""{"type":"role","to_id":"{{firm}}"}""");
        AssertProblem(wrong, invalid, 400, "validation_failed", "/role");
        var make = await AskAsync(asker, HttpMethod.Post, $"/v1/customers/{person}/relationships", $$"""{"type":"role","to_id":"{{firm}}","role":"chief"}""");
        Assert.Equal(("create_relationship", "chief"), ((string?)(await GetAsync(owner, make))["operation"], (string?)(await GetAsync(owner, make))["request"]!["role"]));
        Assert.Empty((await GetAsync(owner, $"/v1/relationships?customer_id={person}"))["data"]!.AsArray());
        await ApproveAsync(owner, make);
        var made = (await GetAsync(owner, $"/v1/relationships?customer_id={person}"))["data"]!.AsArray().Single()!;
        Assert.Equal("chief", (string?)made["role"]);

        var path = $"/v1/relationships/{made["id"]}";
        var change = await AskAsync(asker, HttpMethod.Patch, path, """{"role":"clerk"}""");
        Assert.Equal((string?)made["id"], (string?)(await GetAsync(owner, change))["request"]!["relationship_id"]);
        Assert.Equal("chief", (string?)(await GetAsync(owner, path))["role"]);
        await ApproveAsync(owner, change);
        Assert.Equal("clerk", (string?)(await GetAsync(owner, path))["role"]);

        var overtaken = await AskAsync(asker, HttpMethod.Patch, path, """{"role":"boss"}""");
        var delete = await AskAsync(asker, HttpMethod.Delete, path);
        await ApproveAsync(owner, delete);
        Assert.Equal("outdated", (string?)(await GetAsync(owner, overtaken))["status"]);
        Assert.Empty((await GetAsync(owner, $"/v1/relationships?customer_id={person}"))["data"]!.AsArray());

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audit = database.CreateCommand("""
            SELECT string_agg(e.action || ' ' || e.actor || ' for ' || r.requested_by, ', ' ORDER BY e.id)
            FROM audit_entry e JOIN change_requests r ON e.id = ANY (r.history_ids) WHERE e.record_type = 'relationship' AND e.record_id = $1
            """);
        audit.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = Ids.Relationship.Parse((string)made["id"]!) });
        Assert.Equal("created key_owner for key_asker, updated key_owner for key_asker, deleted key_owner for key_asker", await audit.ExecuteScalarAsync(Ct));
    }

    [Fact]
    public async Task A_tag_of_another_departments_customer_waits_and_is_overtaken_by_another_one()
    {
        var path = $"/v1/customers/{await NewAsync(Unique())}";
        var word = Unique();
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var request = await AskAsync(asker, HttpMethod.Put, $"{path}/tags/{word}-a");
        Assert.Empty((await GetAsync(owner, path))["tags"]!.AsArray());
        await ApproveAsync(owner, request);
        Assert.Equal($"{word}-a", (string?)(await GetAsync(owner, path))["tags"]!.AsArray().Single());
        var (same, _) = await SendAsync(asker, HttpMethod.Put, $"{path}/tags/{word}-a");
        Assert.Equal(HttpStatusCode.OK, same.StatusCode);

        var remove = await AskAsync(asker, HttpMethod.Delete, $"{path}/tags/{word}-a");
        await SendAsync(owner, HttpMethod.Put, $"{path}/tags/{word}-b");
        Assert.Equal("outdated", (string?)(await GetAsync(owner, remove))["status"]);
        Assert.Equal([$"{word}-a", $"{word}-b"], (await GetAsync(owner, path))["tags"]!.AsArray().Select(t => (string?)t));
    }

    [Fact]
    public async Task An_account_manager_is_assigned_by_approval_unless_somebody_else_was_meanwhile()
    {
        var customer = await NewAsync(Unique());
        var path = $"/v1/customers/{customer}/account-manager";
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        await ApproveAsync(owner, await AskAsync(asker, HttpMethod.Put, path, """{"manager":"jane@corp.example"}"""));
        Assert.Equal("jane@corp.example", (string?)(await GetAsync(owner, $"{path}s"))["data"]![0]!["manager"]);
        var overtaken = await AskAsync(asker, HttpMethod.Put, path, """{"manager":"john@corp.example"}""");
        await SendAsync(owner, HttpMethod.Put, path, """{"manager":"joan@corp.example"}""");
        Assert.Equal("outdated", (string?)(await GetAsync(owner, overtaken))["status"]);
    }

    [Fact]
    public async Task A_deletion_waits_for_the_owner_and_is_overtaken_by_any_change()
    {
        var customer = await NewAsync(Unique());
        var path = $"/v1/customers/{customer}";
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var (stale, old) = await SendAsync(Client, HttpMethod.Delete, path, null, ("If-Match", "\"7\""));
        AssertProblem(stale, old, 412, "stale_version");
        var edited = await AskAsync(asker, HttpMethod.Delete, path, """{"reason":"Entered twice"}""");
        Assert.Equal(("delete_customer", "Entered twice"), ((string?)(await GetAsync(owner, edited))["operation"], (string?)(await GetAsync(owner, edited))["request"]!["reason"]));
        await SendAsync(owner, HttpMethod.Patch, path, """{"locale":"en-GB"}""");
        Assert.Equal("outdated", (string?)(await GetAsync(owner, edited))["status"]);

        var pending = await AskAsync(asker, HttpMethod.Delete, path, """{"reason":"Gone"}""");
        Assert.Equal("active", (string?)(await GetAsync(owner, path))["state"]);
        var (own, refused) = await SendAsync(asker, HttpMethod.Post, $"{pending}/approve");
        AssertProblem(own, refused, 403, "department_forbidden");
        Assert.Equal("approved", (string?)(await ApproveAsync(owner, pending))["status"]);
        var (gone, deleted) = await SendAsync(owner, HttpMethod.Get, path);
        AssertProblem(gone, deleted, 410, "customer_deleted");
        Assert.Equal(("Gone", "key_owner"), ((string?)(await GetAsync(owner, $"/v1/recycle-bin/{customer}"))["reason"], (string?)(await GetAsync(owner, $"/v1/recycle-bin/{customer}"))["deleted_by"]));
        Assert.Equal("approved", (string?)(await ApproveAsync(owner, pending))["status"]);
        var (restored, _) = await SendAsync(owner, HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore");
        Assert.Equal(HttpStatusCode.OK, restored.StatusCode);
        var entry = (await GetAsync(owner, $"{path}/history"))["data"]!.AsArray().Single(e => (string?)e!["action"] == "deleted")!;
        Assert.Equal(("key_owner", "key_asker"), ((string?)entry["actor"], (string?)entry["requested_by"]));
    }

    [Fact]
    public async Task A_book_of_business_is_handed_over_as_far_as_the_caller_changes_its_customers()
    {
        var (from, to) = (Unique(), Unique());
        var book = new List<string>();
        foreach (var department in new[] { "\"sales\"", "\"support\"", "null" })
        {
            book.Add((string)(await CreateAsync($$$"""{"kind":"person","given_name":"Ada","department":{{{department}}},"source":{"type":"enquiry"}}"""))["id"]!);
            await SendAsync(HttpMethod.Put, $"/v1/customers/{book[^1]}/account-manager", $$"""{"manager":"{{from}}"}""");
        }

        using var support = Of("key_lead", "support");
        var (response, answer) = await SendAsync(support, HttpMethod.Post, "/v1/book-of-business/reassign", $$"""{"from":"{{from}}","to":"{{to}}"}""");
        Assert.True(response.IsSuccessStatusCode, answer.ToJsonString());
        Assert.Equal((2, 1), ((int)answer["reassigned"]!, (int)answer["left"]!));
        Assert.Equal([book[0]], (await GetAsync(support, $"/v1/book-of-business?manager={from}"))["data"]!.AsArray().Select(a => (string?)a!["customer_id"]));
        var (_, rest) = await SendAsync(HttpMethod.Post, "/v1/book-of-business/reassign", $$"""{"from":"{{from}}","to":"{{to}}"}""");
        Assert.Equal((1, 0), ((int)rest["reassigned"]!, (int)rest["left"]!));
    }

    [Fact]
    public async Task The_same_asked_for_again_is_the_request_that_waits_and_a_hundred_wait_at_most()
    {
        var path = $"/v1/customers/{await NewAsync(Unique())}";
        using var asker = Of("key_asker", "support");
        using var other = Of("key_other", "support");
        var request = await AskAsync(asker, HttpMethod.Patch, path, """{"tier":"gold"}""");
        Assert.Equal(request, await AskAsync(asker, HttpMethod.Patch, path, """{"tier":"gold"}"""));
        Assert.NotEqual(request, await AskAsync(other, HttpMethod.Patch, path, """{"tier":"gold"}"""));
        Assert.Equal(await AskAsync(asker, HttpMethod.Delete, path), await AskAsync(asker, HttpMethod.Delete, path));
        for (var n = 3; n < 100; n++)
        {
            await AskAsync(asker, HttpMethod.Patch, path, $$$"""{"attributes":{"n":{{{n}}}}}""");
        }

        var (refused, full) = await SendAsync(asker, HttpMethod.Patch, path, """{"attributes":{"n":1000}}""");
        AssertProblem(refused, full, 409, "conflict");
        Assert.Equal(request, await AskAsync(asker, HttpMethod.Patch, path, """{"tier":"gold"}"""));
    }

    [Fact]
    public async Task Who_approves_that_a_record_goes_to_a_closed_department_is_told_so_and_sees_it_no_more()
    {
        var path = $"/v1/customers/{await NewAsync(Unique())}";
        using var asker = Of("key_asker", "legal");
        using var owner = Of("key_owner", "sales");
        var request = await AskAsync(asker, HttpMethod.Patch, path, """{"department":"legal"}""");
        var (response, approved) = await SendAsync(owner, HttpMethod.Post, $"{request}/approve", null, ("Idempotency-Key", Unique()));
        Assert.Equal((HttpStatusCode.OK, "approved", "legal"), (response.StatusCode, (string?)approved["status"], (string?)approved["department"]));
        Assert.Equal("legal", (string?)(await GetAsync(asker, path))["department"]);
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(owner, HttpMethod.Get, path)).Response.StatusCode);
    }

    [Fact]
    public async Task Who_does_not_see_notes_is_not_told_why_and_who_does_not_see_the_other_customer_not_whom_it_is_about()
    {
        var customer = await NewAsync(Unique());
        var hidden = (string)(await CreateAsync($$$"""{"kind":"organization","name":"Firm {{{Unique()}}}","department":"legal","source":{"type":"enquiry"}}"""))["id"]!;
        using var asker = Of("key_asker", "support");
        using var marketer = As(new("key_marketer", Scopes.All, ["marketing"], ["marketing"]));
        using var free = As(new("key_free", Scopes.All, [], []));
        using var lawyer = Of("key_lawyer", "legal");
        using var owner = Of("key_owner", "sales");
        var delete = await AskAsync(asker, HttpMethod.Delete, $"/v1/customers/{customer}", """{"reason":"Rude"}""");
        Assert.Equal("Rude", (string?)(await GetAsync(owner, delete))["request"]!["reason"]);
        Assert.Null((await GetAsync(marketer, delete))["request"]!["reason"]);
        var link = await AskAsync(lawyer, HttpMethod.Post, $"/v1/customers/{customer}/relationships", $$"""{"type":"role","to_id":"{{hidden}}","role":"chief"}""");
        Assert.Equal(hidden, (string?)(await GetAsync(free, link))["request"]!["to_id"]);
        Assert.Null((await GetAsync(owner, link))["request"]);
        Assert.DoesNotContain(hidden, (await GetAsync(owner, $"/v1/change-requests?customer_id={customer}")).ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_request_becomes_outdated_with_the_change_that_overtakes_it_and_says_so_on_the_bus()
    {
        await using var bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct);
        var heard = await bus.ListenAsync<ChangeRequestChanged>();
        var external = Unique();
        var path = $"/v1/customers/{await NewAsync(external)}";
        using var asker = Of("key_asker", "support");
        using var owner = Of("key_owner", "sales");
        var overtaken = await AskAsync(asker, HttpMethod.Patch, path, """{"tier":"gold"}""");
        var other = await AskAsync(asker, HttpMethod.Patch, path, """{"locale":"en-GB","external_ids":[]}""");
        await SendAsync(owner, HttpMethod.Patch, path, """{"tier":"vip"}""");
        var outdated = await GetAsync(owner, overtaken);
        Assert.Equal(("outdated", "key_owner"), ((string?)outdated["status"], (string?)outdated["decided_by"]));
        Assert.Equal("pending", (string?)(await GetAsync(owner, other))["status"]);
        Assert.Equal([(string?)outdated["id"]], (await GetAsync(owner, $"/v1/change-requests?status=outdated&customer_id={path.Split('/')[^1]}"))["data"]!.AsArray().Select(r => (string?)r!["id"]));
        var (late, conflict) = await SendAsync(owner, HttpMethod.Post, $"{overtaken}/approve");
        AssertProblem(late, conflict, 409, "change_request_outdated", "/tier");

        // An import writes past the API.
        using var file = new StringContent(
            $$"""{"kind":"person","given_name":"Ada","locale":"de-DE","external_ids":[{"system":"approval","id":"{{external}}"}]}""", Encoding.UTF8, "application/x-ndjson");
        using var import = await Client.PostAsync("/v1/imports", file, Ct);
        Assert.Equal(HttpStatusCode.Accepted, import.StatusCode);
        await Eventually.GetAsync(() => GetAsync(owner, path), c => (string?)c["locale"] == "de-DE", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal("outdated", (string?)(await GetAsync(owner, other))["status"]);

        await Eventually.GetAsync(
            () => Task.FromResult(heard.Where(e => e.Id == (string?)outdated["id"]).Select(e => e.Status).ToList()), s => s.SequenceEqual(["pending", "outdated"]), ct: Ct);
    }

    private async Task<string> NewAsync(string external) => (string)(await CreateAsync($$$"""
        {"kind":"person","given_name":"Ada","department":"sales","external_ids":[{"system":"approval","id":"{{{external}}}"}],"source":{"type":"enquiry"}}
        """))["id"]!;

    private static async Task<string> AskAsync(HttpClient caller, HttpMethod method, string path, string? json = null)
    {
        var (response, body) = await SendAsync(caller, method, path, json);
        Assert.True(response.StatusCode == HttpStatusCode.Accepted, body.ToJsonString());
        Assert.Equal($"/v1/change-requests/{body["id"]}", response.Headers.Location?.OriginalString);
        return $"/v1/change-requests/{body["id"]}";
    }

    private static async Task<JsonNode> ApproveAsync(HttpClient owner, string request)
    {
        var (response, body) = await SendAsync(owner, HttpMethod.Post, $"{request}/approve");
        Assert.True(response.StatusCode == HttpStatusCode.OK, body.ToJsonString());
        return body;
    }

    private HttpClient Of(string key, string department) => As(new(key, Scopes.All, [], [department]));
}
