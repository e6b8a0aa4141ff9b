using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Testing;
using Npgsql;

namespace Contacts.Tests;

/// <summary>Words that customers are marked with. One test kills Contacts: nobody else works meanwhile.</summary>
[CollectionDefinition(nameof(TagTests), DisableParallelization = true)]
[Collection(nameof(TagTests))]
public sealed class TagTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task Tags_are_shown_sorted_and_once_whichever_way_they_came_in()
    {
        var (vip, fair) = ($"vip-{Unique()}", $"fair-{Unique()}");
        var customer = await CreateAsync(Person(vip, fair, vip));
        var path = $"/v1/customers/{customer["id"]}";
        Assert.Equal([fair, vip], Tags(customer));
        var wire = await Grpc().GetCustomerAsync(new() { Id = (string)customer["id"]! }, AsUser("customers:read"), cancellationToken: Ct);
        Assert.Equal([fair, vip], wire.Snapshot.Tags);
        var (_, hits) = await SendAsync(HttpMethod.Get, $"/v1/customers?q={customer["family_name"]}");
        Assert.Equal([fair, vip], Tags(Assert.Single(hits["data"]!.AsArray())!));

        // The same in another order is no change; null takes all away.
        var (same, _) = await SendAsync(HttpMethod.Patch, path, $$"""{"tags":["{{vip}}","{{fair}}"]}""", ("If-Match", "\"1\""));
        Assert.Equal("\"1\"", same.Headers.ETag!.Tag);
        var (_, other) = await SendAsync(HttpMethod.Patch, path, $$"""{"tags":["{{vip}}"]}""", ("If-Match", "\"1\""));
        Assert.Equal([vip], Tags(other));
        var (_, none) = await SendAsync(HttpMethod.Patch, path, """{"tags":null}""", ("If-Match", "\"2\""));
        Assert.Equal([], Tags(none));

        var key = Unique();
        var (made, upserted) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/tags/{key}", Person(vip));
        Assert.Equal((HttpStatusCode.Created, vip), (made.StatusCode, Tags(upserted).Single()));
        var (_, again) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/tags/{key}", $$"""{"tags":["{{fair}}"]}""");
        Assert.Equal([fair], Tags(again));
        var (_, history) = await SendAsync(HttpMethod.Get, $"/v1/customers/{again["id"]}/history?field=tags");
        Assert.Equal((vip, fair), ((string?)history["data"]![0]!["changes"]![0]!["old"]![0], (string?)history["data"]![0]!["changes"]![0]!["new"]![0]));
        var (back, restored) = await SendAsync(HttpMethod.Post, $"/v1/customers/{again["id"]}/history/{history["data"]![0]!["id"]}/restore", "{}", ("If-Match", "\"2\""));
        Assert.True(back.IsSuccessStatusCode, restored.ToJsonString());
        Assert.Equal([vip], Tags(restored));
    }

    [Theory]
    [InlineData("""["VIP"]""")]
    [InlineData("""["-vip"]""")]
    [InlineData("""["a b"]""")]
    [InlineData("""["a\n"]""")]
    [InlineData("""[""]""")]
    [InlineData("""["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]""")]
    [InlineData("""[null]""")]
    [InlineData("50 and one more")]
    public async Task What_is_no_tag_is_refused_and_nothing_changes(string tags)
    {
        var json = tags[0] == '[' ? tags : $"[{string.Join(',', Enumerable.Range(0, 51).Select(n => $"\"t{n}\""))}]";
        var customer = await CreateAsync(Person());
        var (created, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", $$"""{"kind":"person","given_name":"Ada","source":{"type":"enquiry"},"tags":{{json}}}""");
        AssertProblem(created, problem, 400, "validation_failed", "/tags");
        var (patched, refused) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{customer["id"]}", $$"""{"tags":{{json}}}""", ("If-Match", "*"));
        AssertProblem(patched, refused, 400, "validation_failed", "/tags");
        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, $"/v1/customers/{customer["id"]}")).Body["version"]!);
    }

    [Fact]
    public async Task Fifty_who_give_a_tag_each_at_once_all_do_and_one_more_is_too_many()
    {
        var word = Unique();
        var path = $"/v1/customers/{(await CreateAsync(Person()))["id"]}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(n => SendAsync(HttpMethod.Put, $"{path}/tags/{word}-{n}")));
        Assert.All(answers, a => Assert.Equal(HttpStatusCode.OK, a.Response.StatusCode));
        var (_, full) = await SendAsync(HttpMethod.Get, path);
        Assert.Equal((50, 51), (Tags(full).Count, (int)full["version"]!));
        var (more, problem) = await SendAsync(HttpMethod.Put, $"{path}/tags/{word}");
        AssertProblem(more, problem, 400, "validation_failed", "/tags");

        // Again, and what it has not: the same customer.
        var (again, _) = await SendAsync(HttpMethod.Put, $"{path}/tags/{word}-7");
        Assert.Equal("\"51\"", again.Headers.ETag!.Tag);
        var (none, _) = await SendAsync(HttpMethod.Delete, $"{path}/tags/{word}");
        Assert.Equal("\"51\"", none.Headers.ETag!.Tag);
        var (gone, less) = await SendAsync(HttpMethod.Delete, $"{path}/tags/{word}-7");
        Assert.Equal(("\"52\"", 49), (gone.Headers.ETag!.Tag, Tags(less).Count));
        var (_, history) = await SendAsync(HttpMethod.Get, $"{path}/history?field=tags&limit=100");
        Assert.Equal(51, history["data"]!.AsArray().Count(e => (string?)e!["action"] == "updated"));

        var (wrong, bad) = await SendAsync(HttpMethod.Put, $"{path}/tags/Not%20one");
        AssertProblem(wrong, bad, 400, "invalid_parameter", "tag");
        var (nobody, unknown) = await SendAsync(HttpMethod.Put, $"/v1/customers/{Ids.Customer.Format(Guid.CreateVersion7())}/tags/a");
        AssertProblem(nobody, unknown, 404, "not_found");
    }

    [Fact]
    public async Task Twenty_thousand_customers_are_filtered_by_all_of_several_tags_by_an_index_in_pages_that_lose_nobody()
    {
        var word = Unique();
        await using var database = await Fixture.DatabaseAsync("contacts");
        await FillAsync(database, 20_000, $"ARRAY['{word}-a' || n % 200, '{word}-b' || n % 300]", word);
        await ReadAsync(database, "ANALYZE customers");
        try
        {
            // Of 20,000: every 200th, and of these every third.
            Assert.Equal(100, (await PagesAsync($"tag={word}-a7", 30)).Distinct().Count());
            Assert.Equal(34, (await PagesAsync($"tag={word}-a7&tag={word}-b7", 10)).Distinct().Count());
            Assert.Equal(34, (await PagesAsync($"tag={word}-a7&tag={word}-b7&lifecycle=prospect", 10)).Count);
            Assert.Empty(await PagesAsync($"tag={word}-a7&tag={word}-b8", 10));
            var (wrong, problem) = await SendAsync(HttpMethod.Get, "/v1/customers?tag=VIP");
            AssertProblem(wrong, problem, 400, "invalid_parameter", "tag");
            var (twice, once) = await SendAsync(HttpMethod.Get, "/v1/customers?lifecycle=prospect&lifecycle=lapsed");
            AssertProblem(twice, once, 400, "invalid_parameter", "lifecycle");

            await Eventually.GetAsync(() => ReadAsync(database, "SELECT idx_scan::text FROM pg_stat_user_indexes WHERE indexrelname = 'customers_tags'"), scans => scans != "0", ct: Ct);
            // Neither does what has just been written make the index a bad one.
            await FillAsync(database, 3000, $"ARRAY(SELECT '{word}-m' || m FROM generate_series(1, 20) AS m)", word);
            var plan = await ReadAsync(database, $"EXPLAIN SELECT * FROM customers WHERE state = 'active' AND cardinality(tags) > 0 AND ARRAY['{word}-a7', '{word}-b7'] <@ tags ORDER BY id DESC LIMIT 26");
            Assert.Contains("customers_tags", plan, StringComparison.Ordinal);
            Assert.DoesNotContain("Seq Scan", plan, StringComparison.Ordinal);

            var (_, tag) = await SendAsync(HttpMethod.Get, $"/v1/tags/{word}-a7");
            Assert.Equal((0, 100), ((int)tag["version"]!, (int)tag["customers"]!));
        }
        finally
        {
            await RemoveAsync(database, word);
        }
    }

    [Fact]
    public async Task A_tag_comes_into_being_by_its_first_use_and_is_described_once()
    {
        var (used, unused) = ($"u-{Unique()}", $"n-{Unique()}");
        await CreateAsync(Person(used));
        var (first, tag) = await SendAsync(HttpMethod.Post, "/v1/tags", $$"""{"name":"{{used}}","colour":"#c0ffee","description":"Who is in use"}""");
        Assert.Equal((HttpStatusCode.OK, "\"1\"", "#c0ffee"), (first.StatusCode, first.Headers.ETag!.Tag, (string?)tag["colour"]));
        var (second, taken) = await SendAsync(HttpMethod.Post, "/v1/tags", $$"""{"name":"{{used}}"}""");
        AssertProblem(second, taken, 409, "conflict", "/name");
        Assert.Equal((string?)tag["id"], (string?)taken["existing_id"]);
        var (made, _) = await SendAsync(HttpMethod.Post, "/v1/tags", $$"""{"name":"{{unused}}"}""");
        Assert.Equal(HttpStatusCode.Created, made.StatusCode);
        var shown = new List<JsonNode?>();
        // Other tests use hundreds.
        for (var (path, more) = ("/v1/tags?limit=100", true); more;)
        {
            var (_, list) = await SendAsync(HttpMethod.Get, path);
            shown.AddRange(list["data"]!.AsArray().Where(t => (string?)t!["name"] == used || (string?)t["name"] == unused));
            (path, more) = ($"/v1/tags?limit=100&cursor={list["next_cursor"]}", (bool)list["has_more"]!);
        }

        Assert.Equal(2, shown.Count);
        Assert.All(shown, t => Assert.False(t!.AsObject().ContainsKey("customers")));
        Assert.Equal(0, (int)(await SendAsync(HttpMethod.Get, $"/v1/tags/{unused}")).Body["customers"]!);

        foreach (var (body, pointer) in new[] { ("""{"colour":"#ffffff"}""", "/name"), ("""{"name":"A"}""", "/name"), ("""{"name":"a","colour":"red"}""", "/colour"), ("""{"name":"a","shape":"round"}""", "/shape") })
        {
            var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/tags", body);
            AssertProblem(response, problem, 400, "validation_failed", pointer);
        }

        var (missing, required) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{used}", """{"colour":null}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var (patched, changed) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{used}", """{"colour":null}""", ("If-Match", "\"1\""));
        Assert.Equal(("\"2\"", null, "Who is in use"), (patched.Headers.ETag!.Tag, (string?)changed["colour"], (string?)changed["description"]));
        var (stale, late) = await SendAsync(HttpMethod.Delete, $"/v1/tags/{used}", null, ("If-Match", "\"1\""));
        AssertProblem(stale, late, 412, "stale_version");
        var (onto, other) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{used}", $$"""{"name":"{{unused}}"}""", ("If-Match", "\"2\""));
        AssertProblem(onto, other, 409, "conflict", "/name");
        using var sales = Fixture.CreateClient("contacts", "customers:read", "customers:write");
        Assert.Equal("insufficient_scope", (await sales.PatchAsync($"/v1/tags/{used}", """{"colour":null}""", "*", Ct)).Code);
    }

    [Fact]
    public async Task Tags_are_listed_by_the_time_of_their_first_use_or_description_newest_first()
    {
        var word = Unique();
        foreach (var name in new[] { $"{word}-c", $"{word}-a", $"{word}-d", $"{word}-b" })
        {
            await CreateAsync($$"""{"kind":"person","given_name":"Ada","source":{"type":"enquiry"},"tags":["{{name}}"]}""");
            await Task.Delay(2, Ct);
        }

        await SendAsync(HttpMethod.Post, "/v1/tags", $$"""{"name":"{{word}}-e"}""");
        var names = (await GetAsync(Client, "/v1/tags?limit=100"))["data"]!.AsArray().Select(t => (string)t!["name"]!).Where(n => n.StartsWith(word, StringComparison.Ordinal));
        Assert.Equal([$"{word}-e", $"{word}-b", $"{word}-d", $"{word}-a", $"{word}-c"], names);
    }

    [Fact]
    public async Task A_renamed_tag_comes_to_every_customer_once_though_Contacts_is_killed_and_a_removed_one_goes_from_all()
    {
        const int Many = 3000;
        var (old, name) = ($"old-{Unique()}", $"new-{Unique()}");
        await using var database = await Fixture.DatabaseAsync("contacts");
        await FillAsync(database, Many, $"ARRAY['{old}', 'z-stays']", old);
        try
        {
            var contacts = Fixture.Platform["contacts"];
            var binned = await CreateAsync(Person(old));
            var (deleted, _) = await SendAsync(HttpMethod.Delete, $"/v1/customers/{binned["id"]}", null, ("If-Match", "\"1\""));
            Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
            var (renamed, tag) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{old}", $$"""{"name":"{{name}}"}""", ("If-Match", "\"0\""));
            Assert.True(renamed.IsSuccessStatusCode, tag.ToJsonString());
            Assert.Equal((name, old), ((string?)tag["name"], (string?)tag["renaming_from"]));
            Assert.Equal(404, (int)(await SendAsync(HttpMethod.Get, $"/v1/tags/{old}")).Response.StatusCode);
            var (early, busy) = await SendAsync(HttpMethod.Post, "/v1/tags", $$"""{"name":"{{old}}"}""");
            AssertProblem(early, busy, 409, "conflict", "/name");

            await Eventually.GetAsync(() => CountAsync(database, name), done => done > 0, ct: Ct);
            await contacts.KillAsync();
            var half = await CountAsync(database, name);
            Assert.InRange(half, 1, Many);
            contacts.Start();
            await contacts.WaitUntilReadyAsync(ct: Ct);
            // Who uses the old name meanwhile gets the new one.
            var late = await CreateAsync(Person(old));
            await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/tags/{name}")).Body, t => t["renaming_from"] is null, TimeSpan.FromMinutes(1), Ct);
            Assert.Equal((0, Many + 2), (await CountAsync(database, old), await CountAsync(database, name)));
            Assert.Equal([name], Tags((await SendAsync(HttpMethod.Get, $"/v1/customers/{late["id"]}")).Body));
            // Each once, and each with an entry of its history.
            Assert.Equal("2", await ReadAsync(database, $"SELECT DISTINCT version::text FROM customers WHERE given_name = '{old}'"));
            Assert.Equal(Many.ToString(CultureInfo.InvariantCulture), await ReadAsync(database, $"SELECT count(*)::text FROM audit_entry e JOIN customers c ON c.id = e.customer_id WHERE c.given_name = '{old}'"));
            var (back, restored) = await SendAsync(HttpMethod.Post, $"/v1/recycle-bin/{binned["id"]}/restore", "{}", ("If-Match", "*"));
            Assert.True(back.IsSuccessStatusCode, restored.ToJsonString());
            Assert.Equal([name], Tags(restored));

            var (removed, _) = await SendAsync(HttpMethod.Delete, $"/v1/tags/{name}", null, ("If-Match", "*"));
            Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
            await Eventually.GetAsync(() => ReadAsync(database, "SELECT count(*)::text FROM tag_changes"), left => left == "0", TimeSpan.FromMinutes(1), Ct);
            Assert.Equal(0, await CountAsync(database, name));
            Assert.Equal("{z-stays}", await ReadAsync(database, $"SELECT DISTINCT tags::text FROM customers WHERE given_name = '{old}'"));
            Assert.Equal(404, (int)(await SendAsync(HttpMethod.Get, $"/v1/tags/{name}")).Response.StatusCode);
        }
        finally
        {
            await RemoveAsync(database, old);
        }
    }

    [Fact]
    public async Task A_tag_is_removed_into_another_which_everybody_who_had_it_has_then_once()
    {
        var (gone, kept) = ($"g-{Unique()}", $"k-{Unique()}");
        var (one, both, neither) = (await CreateAsync(Person(gone)), await CreateAsync(Person(gone, kept)), await CreateAsync(Person($"n-{Unique()}")));
        var path = $"/v1/tags/{gone}";
        var (self, itself) = await SendAsync(HttpMethod.Delete, $"{path}?into={gone}", null, ("If-Match", "*"));
        AssertProblem(self, itself, 400, "invalid_parameter", "into");
        var (nobody, unknown) = await SendAsync(HttpMethod.Delete, $"{path}?into=u-{Unique()}", null, ("If-Match", "*"));
        AssertProblem(nobody, unknown, 400, "invalid_parameter", "into");

        var (removed, _) = await SendAsync(HttpMethod.Delete, $"{path}?into={kept}", null, ("If-Match", "*"));
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        Assert.Equal(404, (int)(await SendAsync(HttpMethod.Get, path)).Response.StatusCode);
        // Who gives it meanwhile gives the other one.
        var late = await CreateAsync(Person(gone));
        var tag = await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/tags/{kept}")).Body, t => t["renaming_from"] is null && (int)t["customers"]! == 3, TimeSpan.FromMinutes(1), Ct);
        Assert.Equal(kept, (string?)tag["name"]);
        foreach (var customer in (JsonNode[])[one, both, late])
        {
            Assert.Equal([kept], Tags((await SendAsync(HttpMethod.Get, $"/v1/customers/{customer["id"]}")).Body));
        }

        Assert.Equal(1, (int)(await SendAsync(HttpMethod.Get, $"/v1/customers/{neither["id"]}")).Body["version"]!);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_name_that_customers_are_losing_is_given_to_no_other_tag_until_none_has_it(bool renamed)
    {
        var (old, lost, other) = ($"a-{Unique()}", $"b-{Unique()}", $"c-{Unique()}");
        await CreateAsync(Person(old));
        var loser = await CreateAsync(Person(lost));
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (var transaction = await connection.BeginTransactionAsync(Ct))
        {
            // As if another replica were at it.
            await using var sweep = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('tag changes', 0))", connection, transaction);
            await sweep.ExecuteNonQueryAsync(Ct);
            var (changed, body) = renamed
                ? await SendAsync(HttpMethod.Patch, $"/v1/tags/{lost}", $$"""{"name":"{{other}}"}""", ("If-Match", "*"))
                : await SendAsync(HttpMethod.Delete, $"/v1/tags/{lost}", null, ("If-Match", "*"));
            Assert.True(changed.IsSuccessStatusCode, body.ToJsonString());
            var (early, busy) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{old}", $$"""{"name":"{{lost}}"}""", ("If-Match", "*"));
            AssertProblem(early, busy, 409, "conflict", "/name");
            Assert.Equal("in_use", (string?)busy["errors"]![0]!["code"]);
        }

        await Eventually.GetAsync(() => ReadAsync(database, "SELECT count(*)::text FROM tag_changes"), left => left == "0", TimeSpan.FromMinutes(1), Ct);
        var (free, tag) = await SendAsync(HttpMethod.Patch, $"/v1/tags/{old}", $$"""{"name":"{{lost}}"}""", ("If-Match", "*"));
        Assert.True(free.IsSuccessStatusCode, tag.ToJsonString());
        await SendAsync(HttpMethod.Put, $"/v1/customers/{loser["id"]}/tags/{lost}");
        await Eventually.GetAsync(() => ReadAsync(database, "SELECT count(*)::text FROM tag_changes"), left => left == "0", TimeSpan.FromMinutes(1), Ct);
        List<string?> expected = renamed ? [lost, other] : [lost];
        Assert.Equal(expected, Tags((await SendAsync(HttpMethod.Get, $"/v1/customers/{loser["id"]}")).Body));
    }

    [Fact]
    public async Task An_import_adds_tags_to_those_that_there_are_and_its_undo_takes_them_away()
    {
        var (word, key) = (Unique(), Unique());
        var (_, there) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/tags/{key}", Person($"{word}-own"));
        var csv = $"Labels,Ref,Given,Group\n\"{word}-Trade Fair; {word}-vip, {word}-own\",{key},Ada,{word}-g\n\"{word}-new\",{key}2,Augusta,\n\"{word}-ok;under_score\",{key}3,Bad,\n";
        var name = $"m{Unique()}";
        await SendAsync(HttpMethod.Put, $"/v1/import-mappings/{name}", $$$$"""{"fields":{"Labels":"tags","Group":"tags","Ref":"external_id.tags","Given":"given_name"},"defaults":{"kind":"person"},"values":{"tags":{"{{{{word}}}}-vip":"{{{{word}}}}-gold"}}}""");
        var import = await PostImportAsync(csv, "text/csv", $"?mapping={name}");
        Assert.Equal((1, 1, 1), ((int)import["created"]!, (int)import["updated"]!, (int)import["failed"]!));
        var (_, failed) = await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}/results?outcome=failed");
        Assert.Equal(("/tags", 3), ((string?)failed["data"]![0]!["errors"]![0]!["pointer"], (int)failed["data"]![0]!["row"]!));
        var path = $"/v1/customers/{there["id"]}";
        Assert.Equal([$"{word}-g", $"{word}-gold", $"{word}-own", $"{word}-trade-fair"], Tags((await SendAsync(HttpMethod.Get, path)).Body));

        // The same file again says nothing new, and NDJSON is as the API has it.
        var again = await PostImportAsync(csv, "text/csv", $"?mapping={name}");
        Assert.Equal((0, 0, 2), ((int)again["created"]!, (int)again["updated"]!, (int)again["unchanged"]!));
        var line = await PostImportAsync($$$"""{"kind":"person","given_name":"C","external_ids":[{"system":"tags","id":"{{{key}}}4"}],"tags":["{{{word}}}-b","{{{word}}}-a"]}""", "application/x-ndjson", "");
        Assert.Equal(1, (int)line["created"]!);
        Assert.Equal([$"{word}-a", $"{word}-b"], Tags((await SendAsync(HttpMethod.Get, $"/v1/customers/by-external-id/tags/{key}4")).Body));

        await SendAsync(HttpMethod.Post, $"/v1/imports/{import["id"]}/undo", "{}");
        await Eventually.GetAsync(async () => (await SendAsync(HttpMethod.Get, $"/v1/imports/{import["id"]}")).Body, i => (string?)i["status"] == "undone", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal([$"{word}-own"], Tags((await SendAsync(HttpMethod.Get, path)).Body));
    }

    [Fact]
    public async Task Who_may_not_see_custom_fields_sees_no_tags_and_neither_asks_for_them_nor_gives_them()
    {
        var tag = $"secret-{Unique()}";
        var customer = await CreateAsync(Person(tag));
        var path = $"/v1/customers/{customer["id"]}";
        using var sales = Fixture.CreateClient("contacts", new TokenSubject("key_role", Scopes.All, ["sales"], []));
        using var support = Fixture.CreateClient("contacts", new TokenSubject("key_role", Scopes.All, ["support"], []));
        foreach (var (caller, sees, role) in new[] { (sales, true, "sales"), (support, false, "support") })
        {
            var read = await caller.CallAsync(path, Ct);
            Assert.Equal(sees, read.Body!.AsObject().ContainsKey("tags"));
            var wire = await Grpc().GetCustomerAsync(new() { Id = (string)customer["id"]! }, new() { { "authorization", $"Bearer {Fixture.Token(new TokenSubject("key_role", [Scopes.CustomersRead], [role], []))}" } }, cancellationToken: Ct);
            Assert.Equal(sees ? 1 : 0, wire.Snapshot.Tags.Count);
            Assert.Equal(sees ? null : "field_forbidden", (await caller.CallAsync($"/v1/customers?tag={tag}", Ct)).Code);
            Assert.Equal(sees ? null : "field_forbidden", (await caller.PatchAsync(path, $$"""{"tags":["{{tag}}"]}""", "*", Ct)).Code);
            Assert.Equal(sees ? null : "field_forbidden", (await caller.CallAsync(HttpMethod.Put, $"{path}/tags/{tag}", null, [], Ct)).Code);
            Assert.Equal(sees, (await caller.CallAsync($"{path}/history", Ct)).Body!.ToJsonString().Contains(tag, StringComparison.Ordinal));
        }
    }

    private static string Person(params string[] tags) =>
        $$"""{"kind":"person","given_name":"Ada","family_name":"{{Unique()}}","source":{"type":"enquiry"},"tags":[{{string.Join(',', tags.Select(t => $"\"{t}\""))}}]}""";

    private static List<string?> Tags(JsonNode customer) => [.. customer["tags"]!.AsArray().Select(t => (string?)t)];

    private async Task<List<string?>> PagesAsync(string query, int limit)
    {
        var found = new List<string?>();
        for (string? cursor = ""; cursor is not null;)
        {
            var (response, page) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}&limit={limit}{cursor}");
            Assert.True(response.IsSuccessStatusCode, page.ToJsonString());
            found.AddRange(page["data"]!.AsArray().Select(c => (string?)c!["id"]));
            cursor = (string?)page["next_cursor"] is { } next ? $"&cursor={next}" : null;
        }

        return found;
    }

    private static Task<string> FillAsync(NpgsqlDataSource database, int count, string tags, string given) => ReadAsync(database, $"""
        WITH added AS (
            INSERT INTO customers (id, version, event_sequence, kind, given_name, display_name, search_name, emails, phones, addresses, lifecycle, tier, attributes, tags, match_keys, state, created_at, updated_at)
            SELECT gen_random_uuid(), 1, 1, 'person', '{given}', 'Row' || n, 'row' || n, '[]', '[]', '[]', 'prospect', 'standard', jsonb_build_object(), {tags}, ARRAY[]::bigint[], 'active', now(), now()
            FROM generate_series(0, {count - 1}) AS n RETURNING 1)
        SELECT count(*)::text FROM added
        """);

    private static async Task<int> CountAsync(NpgsqlDataSource database, string tag) =>
        int.Parse(await ReadAsync(database, $"SELECT count(*)::text FROM customers WHERE tags @> ARRAY['{tag}']"), CultureInfo.InvariantCulture);

    private static Task<string> RemoveAsync(NpgsqlDataSource database, string given) =>
        ReadAsync(database, $"WITH gone AS (DELETE FROM customers WHERE given_name = '{given}' RETURNING 1) SELECT count(*)::text FROM gone");

    /// <summary>The rows of one column.</summary>
    private static async Task<string> ReadAsync(NpgsqlDataSource database, string sql)
    {
        var rows = new List<string>();
        await using var command = database.CreateCommand(sql);
        await using var reader = await command.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            rows.Add(reader.GetString(0));
        }

        return string.Join('\n', rows);
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
