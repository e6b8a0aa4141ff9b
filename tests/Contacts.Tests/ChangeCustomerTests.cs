using System.Net;
using System.Text.Json.Nodes;
using Crm.Testing;

namespace Contacts.Tests;

public sealed class ChangeCustomerTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_merge_patch_changes_what_it_names_and_nothing_else()
    {
        var customer = await CreatePersonAsync("Grace", "Hopper");
        var (response, patched) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"family_name":"Murray","tier":"gold","attributes":{"rank":"admiral"}}""", ("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("\"2\"", response.Headers.ETag!.Tag);
        Assert.Equal("Grace Murray", (string?)patched["display_name"]);
        Assert.Equal("gold", (string?)patched["tier"]);
        Assert.Equal((string?)customer["emails"]![0]!["address"], (string?)patched["emails"]![0]!["address"]);
        var (_, cleared) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"family_name":null,"attributes":{"rank":null}}""", ("If-Match", "\"2\""));
        Assert.Null(cleared["family_name"]);
        Assert.Empty(cleared["attributes"]!.AsObject());
    }

    [Fact]
    public async Task A_patch_without_or_with_a_stale_If_Match_changes_nothing()
    {
        var customer = await CreatePersonAsync();
        var path = $"/v1/customers/{customer["id"]}";
        var (missing, required) = await SendAsync(HttpMethod.Patch, path, """{"tier":"vip"}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var (stale, problem) = await SendAsync(HttpMethod.Patch, path, """{"tier":"vip"}""", ("If-Match", "\"9\""));
        AssertProblem(stale, problem, 412, "stale_version");
        Assert.Equal("\"1\"", stale.Headers.ETag!.Tag);
        var (_, read) = await SendAsync(HttpMethod.Get, path);
        Assert.Equal("standard", (string?)read["tier"]);
    }

    [Fact]
    public async Task Of_two_patches_of_one_version_one_wins()
    {
        var customer = await CreatePersonAsync();
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(i =>
            SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", $$"""{"given_name":"N{{i}}"}""", ("If-Match", "\"1\""))));
        Assert.Single(answers, a => a.Response.StatusCode == HttpStatusCode.OK);
        Assert.All(answers.Where(a => a.Response.StatusCode != HttpStatusCode.OK), a => AssertProblem(a.Response, a.Body, 412, "stale_version"));
    }

    [Fact]
    public async Task A_patch_that_would_make_the_record_invalid_is_refused()
    {
        var customer = await CreateAsync("""{"kind":"person","given_name":"Only","source":{"type":"enquiry"}}""");
        var (response, problem) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"given_name":null}""", ("If-Match", "*"));
        AssertProblem(response, problem, 400, "validation_failed", "/given_name");
        var (unknown, body) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", """{"version":7}""", ("If-Match", "*"));
        AssertProblem(unknown, body, 400, "validation_failed", "/version");
    }

    [Fact]
    public async Task An_upsert_says_created_then_unchanged_then_updated()
    {
        var path = $"/v1/customers/by-external-id/shop/{Unique()}";
        var (first, created) = await SendAsync(HttpMethod.Put, path, """{"kind":"person","given_name":"Una","lifecycle":"enquiry","source":{"type":"enquiry"}}""");
        Assert.Equal((HttpStatusCode.Created, "created"), (first.StatusCode, (string?)created["result"]));
        var (_, unchanged) = await SendAsync(HttpMethod.Put, path, """{"kind":"person","given_name":"Una"}""");
        Assert.Equal("unchanged", (string?)unchanged["result"]);
        Assert.Equal("enquiry", (string?)unchanged["lifecycle"]);
        var (_, updated) = await SendAsync(HttpMethod.Put, path, """{"kind":"person","given_name":"Una","family_name":"Marsh"}""");
        Assert.Equal("updated", (string?)updated["result"]);
        Assert.Equal((string?)created["id"], (string?)updated["id"]);
        Assert.Equal(2, (int?)updated["version"]);
    }

    [Fact]
    public async Task Parallel_upserts_of_one_external_id_make_one_row()
    {
        var path = $"/v1/customers/by-external-id/shop/{Unique()}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => SendAsync(HttpMethod.Put, path, """{"kind":"person","given_name":"Par","source":{"type":"enquiry"}}""")));
        Assert.Single(answers.Select(a => (string?)a.Body["id"]).Distinct());
        Assert.Single(answers, a => (string?)a.Body["result"] == "created");
    }

    [Fact]
    public async Task An_upsert_matched_on_email_finds_the_customer_and_gives_him_the_external_id()
    {
        var email = NewEmail();
        var customer = await CreatePersonAsync("Mat", "Chon", email);
        var id = Unique();
        var (_, upserted) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{id}?match_on=email", $$$"""{"emails":[{"address":"{{{email}}}"}]}""");
        Assert.Equal((string?)customer["id"], (string?)upserted["id"]);
        Assert.Equal("updated", (string?)upserted["result"]);
        var (_, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?external_id=shop:{id}");
        Assert.Equal((string?)customer["id"], (string?)Assert.Single(found["data"]!.AsArray())!["id"]);
    }

    [Fact]
    public async Task An_upsert_matched_on_a_blocked_address_finds_nobody()
    {
        var email = NewEmail();
        var customer = await CreatePersonAsync("Mat", "Chon", email);
        var (blocked, why) = await SendAsync(HttpMethod.Post, "/v1/blocked-identifiers", $$"""{"kind":"email","value":"{{email}}","reason":"The office"}""");
        Assert.True(blocked.StatusCode == HttpStatusCode.Created, why.ToJsonString());
        var (_, upserted) = await SendAsync(
            HttpMethod.Put, $"/v1/customers/by-external-id/shop/{Unique()}?match_on=email", $$$"""{"kind":"person","given_name":"Matilda","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""");
        Assert.Equal("created", (string?)upserted["result"]);
        Assert.NotEqual((string?)customer["id"], (string?)upserted["id"]);
        Assert.Equal("Mat", (string?)(await SendAsync(HttpMethod.Get, $"/v1/customers/{customer["id"]}")).Body["given_name"]);
    }

    [Fact]
    public async Task Two_of_one_system_who_share_a_mailbox_stay_two_whether_they_come_by_upsert_or_by_import()
    {
        var (system, email) = ($"s{Unique()}", NewEmail());
        string Body(string given, string id) => $$$"""{"kind":"person","given_name":"{{{given}}}","emails":[{"address":"{{{email}}}"}],"external_ids":[{"system":"{{{system}}}","id":"{{{id}}}"}],"source":{"type":"enquiry"}}""";
        var ids = new List<string?>();
        foreach (var (given, id) in (IEnumerable<(string, string)>)[("Ada", "1"), ("Bob", "2")])
        {
            var (_, upserted) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/{system}/{id}?match_on=email", Body(given, id));
            Assert.Equal("created", (string?)upserted["result"]);
            ids.Add((string?)upserted["id"]);
        }

        using var rows = new StringContent(Body("Cid", "3"), System.Text.Encoding.UTF8, "application/x-ndjson");
        using var accepted = await Client.PostAsync("/v1/imports?match_on=external_id,email", rows, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var import = JsonNode.Parse(await accepted.Content.ReadAsStringAsync(Ct))!;
        await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "completed", ct: Ct);
        foreach (var (id, given) in (IEnumerable<(string, string)>)[("1", "Ada"), ("2", "Bob"), ("3", "Cid")])
        {
            var (_, customer) = await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/{system}/{id}");
            Assert.Equal(given, (string?)customer["given_name"]);
            ids.Add((string?)customer["id"]);
        }

        Assert.Equal(3, ids.Distinct().Count());
    }
}
