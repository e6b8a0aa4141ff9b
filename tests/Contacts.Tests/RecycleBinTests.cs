using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Grpc.Core;
using Npgsql;

namespace Contacts.Tests;

/// <summary>Deleted customers: out of sight, whole in the recycle bin, and back again or erased in the end.</summary>
public sealed class RecycleBinTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_deleted_customer_is_in_the_recycle_bin_and_nowhere_else()
    {
        var (family, external) = (Unique(), Unique());
        var customer = await CustomerAsync(family, external);
        await DeleteAsync(customer, "Entered twice");

        foreach (var path in new[]
        {
            $"/v1/customers/{customer}", $"/v1/customers/by-external-id/shop/{external}", $"/v1/customers/{customer}/history", $"/v1/customers/{customer}/lifecycle",
            $"/v1/customers/{customer}/consents", $"/v1/customers/{customer}/relationships", $"/v1/customers/{customer}/account-managers",
        })
        {
            var (response, body) = await SendAsync(HttpMethod.Get, path);
            AssertProblem(response, body, 410, "customer_deleted");
        }

        var (again, gone) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{customer}", null, ("If-Match", "*"));
        AssertProblem(again, gone, 410, "customer_deleted");
        var (patched, refused) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer}", """{"given_name":"Eve"}""", ("If-Match", "*"));
        AssertProblem(patched, refused, 410, "customer_deleted");
        foreach (var query in new[] { $"q={family}", $"q={family}@example.com", $"q={external}", $"email={family}@example.com", $"external_id=shop:{external}" })
        {
            Assert.Empty((await GetAsync($"/v1/customers?{query}"))["data"]!.AsArray());
        }

        foreach (var request in new Func<Task>[]
        {
            async () => await Grpc().GetCustomerAsync(new() { Id = customer }, AsUser("customers:read"), cancellationToken: Ct),
            async () => await Grpc().ResolveCustomerAsync(new() { ExternalId = new() { System = "shop", Id = external } }, AsUser("customers:read"), cancellationToken: Ct),
        })
        {
            var error = await Assert.ThrowsAsync<RpcException>(request);
            Assert.Equal((StatusCode.NotFound, "customer_deleted"), (error.StatusCode, error.Trailers.GetValue("crm-code")));
        }

        var entry = (await GetAsync("/v1/recycle-bin"))["data"]!.AsArray().Single(e => (string?)e!["id"] == customer)!;
        Assert.Equal(("key_test", "Entered twice", $"Ada {family}"), ((string?)entry["deleted_by"], (string?)entry["reason"], (string?)entry["display_name"]));
        Assert.Equal(TimeSpan.FromDays(90), (DateTimeOffset)entry["restorable_until"]! - (DateTimeOffset)entry["deleted_at"]!);
        var one = await GetAsync($"/v1/recycle-bin/{customer}");
        Assert.Equal((external, "deleted"), ((string?)one["customer"]!["external_ids"]![0]!["id"], (string?)one["customer"]!["state"]));

        // Who enters the person anew is told neither of a duplicate nor hindered, as long as the external id is not taken with it.
        Assert.NotEqual(customer, await CustomerAsync(family, Unique()));
    }

    [Fact]
    public async Task A_delete_needs_the_version_that_was_read()
    {
        var customer = (string)(await CreatePersonAsync())["id"]!;
        var (missing, required) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{customer}");
        AssertProblem(missing, required, 428, "precondition_required");
        var (old, stale) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{customer}", null, ("If-Match", "\"7\""));
        AssertProblem(old, stale, 412, "stale_version");
        var (wrong, invalid) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{customer}", $$"""{"reason":"{{new string('x', 501)}}"}""", ("If-Match", "\"1\""));
        AssertProblem(wrong, invalid, 400, "validation_failed", "/reason");
        var (nobody, unknown) = await SendAsync(HttpMethod.Delete, "/v1/customers/cus_00000000000000000000000000", null, ("If-Match", "*"));
        AssertProblem(nobody, unknown, 404, "not_found");
        Assert.Equal(1, (long)(await GetAsync($"/v1/customers/{customer}"))["version"]!);
    }

    [Fact]
    public async Task A_restored_customer_has_all_that_it_had()
    {
        var (family, external) = (Unique(), Unique());
        var customer = await CustomerAsync(family, external);
        var firm = (string)(await CreateAsync($$$"""{"kind":"organization","name":"Firm {{{family}}}","source":{"type":"enquiry"}}"""))["id"]!;
        await OkAsync(HttpMethod.Post, $"/v1/customers/{customer}/relationships", $$"""{"type":"role","to_id":"{{firm}}","role":"chief"}""");
        await OkAsync(HttpMethod.Put, $"/v1/customers/{customer}/account-manager", """{"manager":"jane@corp.example"}""");
        await OkAsync(HttpMethod.Post, $"/v1/customers/{customer}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""");
        var before = (await GetAsync($"/v1/customers/{customer}")).AsObject();

        await DeleteAsync(customer);
        Assert.Empty((await GetAsync($"/v1/customers/{firm}/relationships"))["relationships"]!.AsArray());
        Assert.Empty((await GetAsync($"/v1/relationships?customer_id={firm}"))["data"]!.AsArray());
        Assert.DoesNotContain((await GetAsync("/v1/book-of-business?manager=jane@corp.example&limit=100"))["data"]!.AsArray(), a => (string?)a!["customer_id"] == customer);

        var (response, restored) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore");
        Assert.Equal((HttpStatusCode.OK, "\"3\""), (response.StatusCode, response.Headers.ETag!.Tag));
        var after = (await GetAsync($"/v1/customers/{customer}")).AsObject();
        Assert.True(JsonNode.DeepEquals(after, restored));
        foreach (var node in new[] { before, after })
        {
            node.Remove("version");
            node.Remove("updated_at");
        }

        Assert.Equal(before.ToJsonString(), after.ToJsonString());
        Assert.Equal(customer, (string?)(await GetAsync($"/v1/customers?email={family}@example.com"))["data"]![0]!["id"]);
        Assert.Equal(customer, (string?)(await GetAsync($"/v1/customers?q={family}"))["data"]!.AsArray().Single(c => (string?)c!["kind"] == "person")!["id"]);
        Assert.Equal("chief", (string?)(await GetAsync($"/v1/relationships?customer_id={customer}"))["data"]![0]!["role"]);
        Assert.Equal("jane@corp.example", (string?)(await GetAsync($"/v1/customers/{customer}/account-managers"))["data"]![0]!["manager"]);
        Assert.Equal(["restored", "deleted", "created"], (await GetAsync($"/v1/customers/{customer}/history"))["data"]!.AsArray().Select(h => (string?)h!["action"]));
        var (twice, nothing) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore");
        AssertProblem(twice, nothing, 404, "not_found");
    }

    [Fact]
    public async Task A_refusal_is_taken_in_the_recycle_bin_too_and_holds_after_the_restore()
    {
        var customer = await CustomerAsync(Unique(), Unique());
        var consents = $"/v1/customers/{customer}/consents";
        await OkAsync(HttpMethod.Post, consents, """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""");
        await DeleteAsync(customer);
        foreach (var state in new[] { "granted", "pending" })
        {
            var (response, problem) = await SendAsync(HttpMethod.Post, consents, $$"""{"channel":"email","purpose":"marketing","state":"{{state}}","source":"call"}""");
            AssertProblem(response, problem, 410, "customer_deleted");
        }

        await OkAsync(HttpMethod.Post, consents, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call"}""");
        await OkAsync(HttpMethod.Post, consents, """{"channel":"sms","purpose":"marketing","state":"denied","source":"call"}""");
        await OkAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore", "{}");
        Assert.Equal(
            ["email:withdrawn", "sms:denied"],
            (await GetAsync(consents))["current"]!.AsArray().Select(c => $"{c!["channel"]}:{c["state"]}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_external_id_in_the_recycle_bin_stays_its_customers()
    {
        var external = Unique();
        var customer = await CustomerAsync(Unique(), external);
        await DeleteAsync(customer);
        var (created, taken) = await SendAsync(
            HttpMethod.Post, "/v1/customers", $$$"""{"kind":"person","given_name":"Eve","external_ids":[{"system":"shop","id":"{{{external}}}"}],"source":{"type":"enquiry"}}""");
        AssertProblem(created, taken, 409, "in_recycle_bin", "/external_ids/0");
        Assert.Equal(customer, (string?)taken["existing_id"]);
        var (put, refused) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{external}", """{"given_name":"Eve"}""");
        AssertProblem(put, refused, 409, "in_recycle_bin");
        Assert.Equal(customer, (string?)refused["existing_id"]);
    }

    [Fact]
    public async Task A_restore_says_who_has_the_address_meanwhile_and_is_overridden_with_a_reason()
    {
        var family = Unique();
        var customer = await CustomerAsync(family, Unique());
        await DeleteAsync(customer);
        var other = (string)(await CreatePersonAsync("Eve", "Other", $"{family}@example.com"))["id"]!;
        var (refused, problem) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore", "{}");
        AssertProblem(refused, problem, 409, "duplicate_suspected", "/emails");
        Assert.Equal(other, (string?)problem["candidates"]![0]!["customer_id"]);
        var (reasonless, invalid) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore", """{"allow_duplicate":true}""");
        AssertProblem(reasonless, invalid, 400, "validation_failed", "/reason");
        await OkAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore", """{"allow_duplicate":true,"reason":"They share it"}""");
        Assert.Equal(2, (await GetAsync($"/v1/customers?email={family}@example.com"))["data"]!.AsArray().Count);

        // Who had it before as well is no news.
        await DeleteAsync(customer);
        await OkAsync(HttpMethod.Post, $"/v1/recycle-bin/{customer}/restore");
    }

    [Fact]
    public async Task What_belongs_to_a_deleted_organisation_can_belong_to_another_and_then_the_restore_asks()
    {
        var (parent, child, other) = (await FirmAsync("Parent"), await FirmAsync("Child"), await FirmAsync("Other"));
        await OkAsync(HttpMethod.Post, $"/v1/customers/{child}/relationships", $$"""{"type":"branch","to_id":"{{parent}}"}""");
        await DeleteAsync(parent);
        var tree = (await GetAsync($"/v1/customers/{child}/hierarchy"))["data"]!.AsArray();
        Assert.Equal((child, null), ((string?)tree.Single()!["id"], (string?)tree[0]!["parent_id"]));
        var second = await OkAsync(HttpMethod.Post, $"/v1/customers/{child}/relationships", $$"""{"type":"branch","to_id":"{{other}}"}""");
        var (refused, problem) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{parent}/restore");
        AssertProblem(refused, problem, 409, "conflict");
        Assert.Equal((string?)second["id"], (string?)problem["existing_id"]);
        await SendAsync(HttpMethod.Delete, $"/v1/relationships/{second["id"]}", null, ("If-Match", "\"1\""));
        await OkAsync(HttpMethod.Post, $"/v1/recycle-bin/{parent}/restore");
        Assert.Equal([parent, child], (await GetAsync($"/v1/customers/{child}/hierarchy"))["data"]!.AsArray().Select(m => (string?)m!["id"]));
    }

    [Fact]
    public async Task The_bin_is_paged_by_who_was_deleted_last()
    {
        var deleted = new List<string>();
        for (var i = 0; i < 3; i++)
        {
            deleted.Insert(0, (string)(await CreatePersonAsync())["id"]!);
            await DeleteAsync(deleted[0]);
        }

        var (seen, cursor) = (new List<string>(), "");
        do
        {
            var page = await GetAsync($"/v1/recycle-bin?limit=2{cursor}");
            seen.AddRange(page["data"]!.AsArray().Select(e => (string)e!["id"]!));
            cursor = page["next_cursor"] is { } next ? $"&cursor={next}" : "";
        }
        while (cursor.Length > 0);
        Assert.Equal(deleted, seen.Where(deleted.Contains));
        Assert.Equal(seen.Count, seen.Distinct().Count());
        var (wrong, problem) = await SendAsync(HttpMethod.Get, "/v1/recycle-bin?cursor=x");
        AssertProblem(wrong, problem, 400, "invalid_parameter", "cursor");
    }

    [Fact]
    public async Task Who_is_not_brought_back_in_time_is_erased_unless_a_legal_hold_forbids_it()
    {
        var (held, free) = ((string)(await CreatePersonAsync())["id"]!, (string)(await CreatePersonAsync())["id"]!);
        await DeleteAsync(held);
        await DeleteAsync(free);
        var hold = await OkAsync(HttpMethod.Post, $"/v1/customers/{held}/legal-holds", """{"reason":"Lawsuit"}""");
        await using (var database = await Fixture.DatabaseAsync("contacts"))
        {
            await using var late = database.CreateCommand("UPDATE recycle_bin SET keep_until = now() - interval '1 hour' WHERE customer_id = ANY ($1)");
            late.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = [Ids.Customer.Parse(held), Ids.Customer.Parse(free)] });
            Assert.Equal(2, await late.ExecuteNonQueryAsync(Ct));
        }

        var erasure = await ErasureOfAsync(free);
        Assert.StartsWith("Deleted on ", (string)erasure["reason"]!, StringComparison.Ordinal);
        Assert.Equal("svc:contacts", (string?)erasure["actor"]);
        var (gone, erased) = await SendAsync(HttpMethod.Get, $"/v1/customers/{free}");
        AssertProblem(gone, erased, 410, "erased");
        var (empty, nothing) = await SendAsync(HttpMethod.Get, $"/v1/recycle-bin/{free}");
        AssertProblem(empty, nothing, 410, "erased");

        Assert.Equal((string?)hold["id"], (string?)(await GetAsync($"/v1/recycle-bin/{held}"))["legal_hold_ids"]!.AsArray().Single());
        await OkAsync(HttpMethod.Post, $"/v1/customers/{held}/legal-holds/{hold["id"]}/lift", """{"reason":"Settled"}""");
        await ErasureOfAsync(held);
    }

    [Fact]
    public async Task A_person_in_the_bin_can_be_erased_at_once_and_rows_of_an_import_to_come_are_found_by_its_address()
    {
        var customer = (string)(await CreatePersonAsync())["id"]!;
        await DeleteAsync(customer);
        var (missing, required) = await SendAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var erasure = await OkAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", ("If-Match", "\"2\""));
        var receipt = erasure["receipts"]!.AsArray().Single()!["erased"]!;
        Assert.Equal((1, 1), ((int)receipt["recycle_bin"]!, (int)receipt["customer_identifiers"]!));
        var (gone, erased) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}");
        AssertProblem(gone, erased, 410, "erased");
    }

    [Fact]
    public async Task A_row_of_an_import_about_a_deleted_customer_fails_and_names_it()
    {
        var external = Unique();
        await DeleteAsync(await CustomerAsync(Unique(), external));
        using var content = new StringContent($$$"""{"kind":"person","given_name":"Eve","external_ids":[{"system":"shop","id":"{{{external}}}"}],"source":{"type":"import"}}""", System.Text.Encoding.UTF8, "application/x-ndjson");
        using var response = await Client.PostAsync("/v1/imports?match_on=external_id", content, Ct);
        var import = JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!;
        Assert.True(response.IsSuccessStatusCode, import.ToJsonString());
        await Eventually.GetAsync(() => GetAsync($"/v1/imports/{import["id"]}"), i => (string?)i["status"] == "completed", ct: Ct);
        Assert.Equal("in_recycle_bin", (string?)(await GetAsync($"/v1/imports/{import["id"]}/results"))["data"]![0]!["code"]);
    }

    private async Task<string> CustomerAsync(string family, string external) => (string)(await CreateAsync($$$"""
        {"kind":"person","given_name":"Ada","family_name":"{{{family}}}","emails":[{"address":"{{{family}}}@example.com"}],"phones":[{"number":"+4420{{{Random.Shared.Next(10_000_000, 99_999_999)}}}"}],
         "external_ids":[{"system":"shop","id":"{{{external}}}"}],"attributes":{"shoe":38},"source":{"type":"enquiry"}}
        """))["id"]!;

    private async Task<string> FirmAsync(string name) =>
        (string)(await CreateAsync($$$"""{"kind":"organization","name":"{{{name}}} {{{Unique()}}}","source":{"type":"enquiry"}}"""))["id"]!;

    private async Task DeleteAsync(string customer, string? reason = null)
    {
        var (response, body) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{customer}", reason is null ? null : $$"""{"reason":"{{reason}}"}""", ("If-Match", "*"));
        Assert.True(response.StatusCode == HttpStatusCode.NoContent, body.ToJsonString());
    }

    private async Task<JsonNode> ErasureOfAsync(string customer) => (await Eventually.GetAsync(
        () => GetAsync($"/v1/erasures?customer_id={customer}"), e => e["data"]!.AsArray().Count > 0, ct: Ct))["data"]![0]!;

    private Task<JsonNode> GetAsync(string path) => OkAsync(HttpMethod.Get, path);

    private async Task<JsonNode> OkAsync(HttpMethod method, string path, string? json = null, params (string, string)[] headers)
    {
        var (response, body) = await SendAsync(method, path, json, headers);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }
}
