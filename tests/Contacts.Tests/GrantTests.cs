using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Grpc.Core;

namespace Contacts.Tests;

/// <summary>What departments let one another do with their records. The department legal is closed; sales is not.</summary>
public sealed class GrantTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_record_of_a_closed_department_is_read_by_others_by_grant_only_in_every_way()
    {
        var (name, email, external) = ($"Zoe{Unique()}", NewEmail(), Unique());
        var id = await NewAsync("legal", name, email, external);
        var (other, owner) = (Department(), Of("key_legal", "legal"));
        using var asker = Of("key_asker", other);
        Assert.Equal(name, (string?)(await GetAsync(owner, $"/v1/customers/{id}"))["family_name"]);
        await AssertHiddenAsync();

        var grant = await GrantAsync(owner, $$"""{"owner_department":"legal","grantee_department":"{{other}}","scope":"customer","customer_id":"{{id}}","access":"read","reason":"A case of theirs"}""");
        Assert.Equal(("active", "key_legal", "customer"), ((string?)grant["status"], (string?)grant["granted_by"], (string?)grant["scope"]));
        await AssertSeenAsync();
        // To read is not to write.
        var (asked, request) = await SendAsync(asker, HttpMethod.Patch, $"/v1/customers/{id}", """{"tier":"gold"}""");
        Assert.True(asked.StatusCode == HttpStatusCode.Accepted, request.ToJsonString());
        Assert.Equal(id, (string?)(await GetAsync(asker, $"/v1/change-requests/{request["id"]}"))["customer_id"]);

        using var third = Of("key_third", Department());
        var (hidden, nothing) = await SendAsync(third, HttpMethod.Get, $"/v1/customers/{id}");
        AssertProblem(hidden, nothing, 404, "not_found");

        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(owner, HttpMethod.Delete, $"/v1/grants/{grant["id"]}")).Response.StatusCode);
        await AssertHiddenAsync();
        var (gone, unknown) = await SendAsync(asker, HttpMethod.Get, $"/v1/change-requests/{request["id"]}");
        AssertProblem(gone, unknown, 404, "not_found");
        var revoked = await GetAsync(owner, $"/v1/grants/{grant["id"]}");
        Assert.Equal(("revoked", "key_legal"), ((string?)revoked["status"], (string?)revoked["revoked_by"]));
        Assert.NotNull(revoked["ended_at"]);
        owner.Dispose();

        async Task AssertHiddenAsync()
        {
            foreach (var path in new[] { "", "/history", "/consents", "/lifecycle", "/relationships", "/hierarchy", "/account-managers" })
            {
                var (response, body) = await SendAsync(asker, HttpMethod.Get, $"/v1/customers/{id}{path}");
                AssertProblem(response, body, 404, "not_found");
            }

            foreach (var query in Lists())
            {
                Assert.Empty((await GetAsync(asker, $"/v1/customers?{query}"))["data"]!.AsArray());
            }

            var (byExternal, none) = await SendAsync(asker, HttpMethod.Get, $"/v1/customers/by-external-id/grants/{external}");
            AssertProblem(byExternal, none, 404, "not_found");
            var (patch, refused) = await SendAsync(asker, HttpMethod.Patch, $"/v1/customers/{id}", """{"tier":"gold"}""");
            AssertProblem(patch, refused, 404, "not_found");
            Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () => await Grpc().GetCustomerAsync(new() { Id = id }, Headers(asker), cancellationToken: Ct))).StatusCode);
            var (export, away) = await SendAsync(asker, HttpMethod.Post, $"/v1/customers/{id}/exports");
            AssertProblem(export, away, 404, "not_found");
        }

        async Task AssertSeenAsync()
        {
            Assert.Equal(name, (string?)(await GetAsync(asker, $"/v1/customers/{id}"))["family_name"]);
            Assert.Equal(name, (string?)(await GetAsync(asker, $"/v1/customers/by-external-id/grants/{external}"))["family_name"]);
            Assert.Single((await GetAsync(asker, $"/v1/customers/{id}/history"))["data"]!.AsArray());
            foreach (var query in Lists())
            {
                Assert.Equal([id], (await GetAsync(asker, $"/v1/customers?{query}"))["data"]!.AsArray().Select(c => (string?)c!["id"]));
            }

            Assert.Equal(email, (await Grpc().GetCustomerAsync(new() { Id = id }, Headers(asker), cancellationToken: Ct)).Snapshot.PrimaryEmail);
        }

        IEnumerable<string> Lists() => [$"q={name}", $"q={email}", $"email={email}", $"external_id=grants:{external}"];
    }

    [Fact]
    public async Task A_grant_to_write_needs_no_approval_and_an_expired_one_has_no_effect()
    {
        var id = await NewAsync("sales");
        var other = Department();
        using var owner = Of("key_owner", "sales");
        using var asker = Of("key_asker", other);
        Assert.Equal(HttpStatusCode.Accepted, await PatchAsync("gold"));
        var grant = await GrantAsync(owner, $$"""
            {"owner_department":"sales","grantee_department":"{{other}}","scope":"customer","customer_id":"{{id}}","access":"write","expires_at":"{{DateTimeOffset.UtcNow.AddHours(1):O}}","reason":"For a while"}
            """);
        Assert.Equal(HttpStatusCode.OK, await PatchAsync("gold"));
        Assert.Equal("vip", (string?)(await SendAsync(asker, HttpMethod.Put, $"/v1/customers/by-external-id/grants/{id}", """{"tier":"vip"}""")).Body["tier"]);

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var late = database.CreateCommand("UPDATE grants SET expires_at = now() - interval '1 second' WHERE id = $1");
        late.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = Ids.Grant.Parse((string)grant["id"]!) });
        Assert.Equal(1, await late.ExecuteNonQueryAsync(Ct));
        Assert.Equal(HttpStatusCode.Accepted, await PatchAsync("silver"));
        Assert.Equal("expired", (string?)(await GetAsync(owner, $"/v1/grants/{grant["id"]}"))["status"]);
        // What is over is in nobody's way.
        await GrantAsync(owner, $$"""{"owner_department":"sales","grantee_department":"{{other}}","scope":"customer","customer_id":"{{id}}","access":"write","reason":"Again"}""");
        Assert.Equal(HttpStatusCode.OK, await PatchAsync("silver"));

        async Task<HttpStatusCode> PatchAsync(string tier) =>
            (await SendAsync(asker, HttpMethod.Patch, $"/v1/customers/{id}", $$$"""{"tier":"{{{tier}}}","external_ids":[{"system":"grants","id":"{{{id}}}"}]}""")).Response.StatusCode;
    }

    [Fact]
    public async Task Of_a_granted_field_group_its_fields_are_seen_and_changed_and_no_others()
    {
        var (name, email) = ($"Zoe{Unique()}", NewEmail());
        var id = await NewAsync("legal", name, email);
        var (other, writer) = (Department(), Department());
        using var owner = Of("key_legal", "legal");
        using var reader = Of("key_reader", other);
        using var changer = Of("key_changer", writer);
        await GrantAsync(owner, $$"""{"owner_department":"legal","grantee_department":"{{other}}","scope":"field_group","field_group":"names","access":"read","reason":"To greet them"}""");
        foreach (var seen in new[] { await GetAsync(reader, $"/v1/customers/{id}"), (await GetAsync(reader, "/v1/customers?department=legal&limit=100"))["data"]!.AsArray().Single(c => (string?)c!["id"] == id)! })
        {
            Assert.Equal((name, "legal", "standard"), ((string?)seen["family_name"], (string?)seen["department"], (string?)seen["tier"]));
            Assert.Empty(seen.AsObject().Select(m => m.Key).Intersect(["emails", "phones", "addresses", "birth_date", "attributes"]));
        }

        var wire = await Grpc().GetCustomerAsync(new() { Id = id }, Headers(reader), cancellationToken: Ct);
        Assert.Equal((name, "", 0, ""), (wire.Snapshot.FamilyName, wire.Snapshot.PrimaryEmail, wire.Emails.Count, wire.Snapshot.AttributesJson));
        // What is not granted is not found by either, and nowhere else told.
        Assert.Empty((await GetAsync(reader, $"/v1/customers?email={email}"))["data"]!.AsArray());
        Assert.Empty((await GetAsync(reader, $"/v1/customers?q={email}"))["data"]!.AsArray());
        var (history, none) = await SendAsync(reader, HttpMethod.Get, $"/v1/customers/{id}/history");
        AssertProblem(history, none, 404, "not_found");

        await GrantAsync(owner, $$"""{"owner_department":"legal","grantee_department":"{{writer}}","scope":"field_group","field_group":"names","access":"write","reason":"They know the names"}""");
        var (changed, now) = await SendAsync(changer, HttpMethod.Patch, $"/v1/customers/{id}", """{"given_name":"Augusta"}""");
        Assert.Equal((HttpStatusCode.OK, "Augusta", null), (changed.StatusCode, (string?)now["given_name"], now["emails"]));
        Assert.Equal(HttpStatusCode.Accepted, (await SendAsync(changer, HttpMethod.Patch, $"/v1/customers/{id}", """{"given_name":"Ada","tier":"gold"}""")).Response.StatusCode);
        // Who asks for a change is not told what was there.
        var (asked, request) = await SendAsync(changer, HttpMethod.Patch, $"/v1/customers/{id}", $$"""{"emails":[{"address":"{{NewEmail()}}"}],"tier":"gold"}""");
        Assert.Equal(HttpStatusCode.Accepted, asked.StatusCode);
        Assert.DoesNotContain(email, request.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal("tier", (string?)request["changes"]!.AsArray().Single()!["field"]);
        // Nor whether what is wanted is there already.
        var (guessed, guess) = await SendAsync(changer, HttpMethod.Patch, $"/v1/customers/{id}", $$"""{"emails":[{"address":"{{email}}"}]}""");
        Assert.Equal((HttpStatusCode.Accepted, 0), (guessed.StatusCode, guess["changes"]!.AsArray().Count));
        var (tagged, tag) = await SendAsync(changer, HttpMethod.Delete, $"/v1/customers/{id}/tags/{Unique()}");
        Assert.Equal((HttpStatusCode.Accepted, 0), (tagged.StatusCode, tag["changes"]!.AsArray().Count));
        Assert.Equal((string?)guess["id"], (string?)(await GetAsync(changer, $"/v1/change-requests/{guess["id"]}"))["id"]);
        var (approved, nothing) = await SendAsync(owner, HttpMethod.Post, $"/v1/change-requests/{guess["id"]}/approve");
        Assert.Equal((HttpStatusCode.OK, "approved", null), (approved.StatusCode, (string?)nothing["status"], (string?)nothing["history_id"]));
        // One customer whole is more than a group of all.
        await GrantAsync(owner, $$"""{"owner_department":"legal","grantee_department":"{{other}}","scope":"customer","customer_id":"{{id}}","access":"read","reason":"This one whole"}""");
        Assert.Equal(email, (string?)(await GetAsync(reader, $"/v1/customers/{id}"))["emails"]![0]!["address"]);
        Assert.Equal([id], (await GetAsync(reader, $"/v1/customers?email={email}"))["data"]!.AsArray().Select(c => (string?)c!["id"]));
    }

    [Fact]
    public async Task Only_the_owner_grants_and_only_what_it_reaches_and_what_means_something()
    {
        var id = await NewAsync("sales");
        var other = Department();
        using var stranger = Of("key_stranger", "support");
        using var salesman = As(new("key_salesman", Scopes.All, ["sales"], ["sales"]));
        using var reader = As(new("key_reader", [Scopes.GrantsRead, Scopes.CustomersRead], [], ["sales"]));
        using var owner = Of("key_owner", "sales");
        string Body(string rest) => $$"""{"owner_department":"sales","grantee_department":"{{other}}","access":"read","reason":"Because",{{rest}}}""";
        foreach (var (caller, body, status, code, pointer) in new[]
        {
            (stranger, Body("\"scope\":\"all\""), 403, "department_forbidden", "/owner_department"),
            (salesman, Body("\"scope\":\"all\""), 403, "field_forbidden", "/field_group"),
            (salesman, Body("\"scope\":\"field_group\",\"field_group\":\"identity\""), 403, "field_forbidden", "/field_group"),
            (reader, Body("\"scope\":\"all\""), 403, "insufficient_scope", null),
            (owner, Body("\"scope\":\"everything\""), 400, "validation_failed", null),
            (owner, Body("\"scope\":\"customer\""), 400, "validation_failed", "/customer_id"),
            (owner, Body("\"scope\":\"field_group\",\"field_group\":\"shoes\""), 400, "validation_failed", "/field_group"),
            (owner, Body("\"scope\":\"all\",\"expires_at\":\"2020-01-01T00:00:00Z\""), 400, "validation_failed", "/expires_at"),
            (owner, """{"owner_department":"sales","grantee_department":"sales","scope":"all","access":"read","reason":"x"}""", 400, "validation_failed", "/grantee_department"),
            (owner, Body("\"scope\":\"customer\",\"customer_id\":\"cus_00000000000000000000000000\""), 422, "unknown_customer", "/customer_id"),
            (owner, Body($"\"scope\":\"customer\",\"customer_id\":\"{await NewAsync("support")}\""), 422, "unprocessable", "/customer_id"),
        })
        {
            var (response, problem) = await SendAsync(caller, HttpMethod.Post, "/v1/grants", body);
            if (code != "validation_failed" || pointer is not null)
            {
                AssertProblem(response, problem, status, code, pointer);
            }
            else
            {
                Assert.Equal(status, (int)response.StatusCode);
            }
        }

        Assert.Empty((await GetAsync(owner, $"/v1/grants?grantee_department={other}"))["data"]!.AsArray());
        var made = await GrantAsync(owner, Body($"\"scope\":\"customer\",\"customer_id\":\"{id}\""));
        var (again, exists) = await SendAsync(owner, HttpMethod.Post, "/v1/grants", Body($"\"scope\":\"customer\",\"customer_id\":\"{id}\""));
        AssertProblem(again, exists, 409, "already_exists");
        Assert.Equal((string?)made["id"], (string?)exists["existing_id"]);
        var second = await GrantAsync(owner, Body("\"scope\":\"field_group\",\"field_group\":\"names\""));
        var first = await GetAsync(owner, $"/v1/grants?owner_department=sales&grantee_department={other}&limit=1");
        var next = await GetAsync(owner, $"/v1/grants?owner_department=sales&grantee_department={other}&limit=1&cursor={first["next_cursor"]}");
        Assert.Equal([(string?)second["id"], (string?)made["id"]], new[] { first, next }.Select(p => (string?)p["data"]!.AsArray().Single()!["id"]));
        Assert.False((bool)next["has_more"]!);

        var (unseen, nothing) = await SendAsync(stranger, HttpMethod.Get, $"/v1/grants/{made["id"]}");
        AssertProblem(unseen, nothing, 404, "not_found");
        using var grantee = Of("key_grantee", other);
        Assert.Equal((string?)made["id"], (string?)(await GetAsync(grantee, $"/v1/grants/{made["id"]}"))["id"]);
        var (revoke, notTheirs) = await SendAsync(grantee, HttpMethod.Delete, $"/v1/grants/{made["id"]}");
        AssertProblem(revoke, notTheirs, 403, "department_forbidden");
        await SendAsync(owner, HttpMethod.Delete, $"/v1/grants/{made["id"]}");
        Assert.Equal([(string?)second["id"]], (await GetAsync(owner, $"/v1/grants?grantee_department={other}&active=true"))["data"]!.AsArray().Select(g => (string?)g!["id"]));

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audit = database.CreateCommand("SELECT string_agg(action || ' ' || actor, ', ' ORDER BY id) FROM audit_entry WHERE record_type = 'grant' AND record_id = $1");
        audit.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = Ids.Grant.Parse((string)made["id"]!) });
        Assert.Equal("created key_owner, revoked key_owner", await audit.ExecuteScalarAsync(Ct));
    }

    /// <summary>One that no other test grants anything to.</summary>
    private static string Department() => $"d-{Unique()}";

    private async Task<string> NewAsync(string department, string? name = null, string? email = null, string? external = null) => (string)(await CreateAsync($$$"""
        {"kind":"person","given_name":"Ada","family_name":"{{{name ?? Unique()}}}","emails":[{"address":"{{{email ?? NewEmail()}}}"}],"department":"{{{department}}}",
         "external_ids":[{"system":"grants","id":"{{{external ?? Unique()}}}"}],"attributes":{"shoe":38},"birth_date":"1815-12-10","source":{"type":"enquiry"}}
        """))["id"]!;

    private static async Task<JsonNode> GrantAsync(HttpClient caller, string json)
    {
        var (response, body) = await SendAsync(caller, HttpMethod.Post, "/v1/grants", json);
        Assert.True(response.StatusCode == HttpStatusCode.Created, body.ToJsonString());
        Assert.Equal($"/v1/grants/{body["id"]}", response.Headers.Location?.OriginalString);
        return body;
    }

    private HttpClient Of(string key, string department) => As(new(key, Scopes.All, [], [department]));

    private static Metadata Headers(HttpClient caller) => new() { { "authorization", caller.DefaultRequestHeaders.Authorization!.ToString() } };
}
