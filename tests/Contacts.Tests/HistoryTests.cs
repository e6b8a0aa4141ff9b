using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Runner.Commands;
using Npgsql;

namespace Contacts.Tests;

public sealed class HistoryTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task Every_change_of_a_field_is_in_the_history_with_who_when_old_and_new()
    {
        var customer = await CreatePersonAsync("Grace", "Hopper");
        var path = $"/v1/customers/{customer["id"]}";
        var (patched, _) = await PatchAsync(path, """{"family_name":"Murray","tier":"gold"}""", 1);
        await PatchAsync(path, """{"family_name":"Hopper-Murray"}""", 2);

        var history = await HistoryAsync(path);
        Assert.Equal(["updated", "updated", "created"], history.Select(e => (string?)e["action"]));
        Assert.All(history, e => Assert.Equal("key_test", (string?)e["actor"]));
        Assert.Equal(patched.Headers.GetValues("Crm-Trace-Id").Single(), (string?)history[1]["trace_id"]);
        Assert.Equal(
            ["family_name: \"Hopper\" -> \"Murray\"", "tier: \"standard\" -> \"gold\""],
            history[1]["changes"]!.AsArray().Select(c => $"{c!["field"]}: {c["old"]?.ToJsonString()} -> {c["new"]?.ToJsonString()}").Order());
        Assert.Contains(history[2]["changes"]!.AsArray(), c => (string?)c!["field"] == "emails" && c["old"] is null && c["new"] is JsonArray);
        Assert.Single(await HistoryAsync(path, "?field=tier&limit=100"), e => (string?)e["action"] == "updated");
        Assert.Equal(3, (await HistoryAsync(path, "?field=family_name")).Count);

        var (_, first) = await SendAsync(HttpMethod.Get, $"{path}/history?limit=1");
        var (_, second) = await SendAsync(HttpMethod.Get, $"{path}/history?limit=2&cursor={first["next_cursor"]}");
        Assert.Equal(history.Select(e => (string?)e["id"]), first["data"]!.AsArray().Concat(second["data"]!.AsArray()).Select(e => (string?)e!["id"]));
    }

    [Fact]
    public async Task A_field_is_restored_to_what_it_was_before_a_change_and_later_changes_of_others_stay()
    {
        var customer = await CreatePersonAsync("Grace", "Hopper");
        var path = $"/v1/customers/{customer["id"]}";
        await PatchAsync(path, """{"family_name":"Murray","emails":[],"attributes":{"rank":"admiral"}}""", 1);
        await PatchAsync(path, """{"tier":"vip"}""", 2);
        var change = (string)(await HistoryAsync(path))[1]["id"]!;

        var (one, partly) = await RestoreAsync(path, change, """{"fields":["family_name"]}""", 3);
        Assert.Equal(HttpStatusCode.OK, one.StatusCode);
        Assert.Equal(("Hopper", "vip", 0), ((string?)partly["family_name"], (string?)partly["tier"], partly["emails"]!.AsArray().Count));
        var (_, whole) = await RestoreAsync(path, change, "{}", 4);
        Assert.True(JsonNode.DeepEquals(customer["emails"], whole["emails"]));
        Assert.Empty(whole["attributes"]!.AsObject());
        Assert.Equal("vip", (string?)whole["tier"]);
        Assert.Equal(5, (await HistoryAsync(path)).Count);
    }

    [Fact]
    public async Task Each_attribute_has_a_history_of_its_own_and_is_restored_alone()
    {
        var customer = await CreatePersonAsync("Grace", "Hopper");
        var path = $"/v1/customers/{customer["id"]}";
        await PatchAsync(path, """{"attributes":{"rank":"admiral","ship":"Hopper"}}""", 1);
        await PatchAsync(path, """{"attributes":{"ship":"Cole","shoe":38}}""", 2);
        await PatchAsync(path, """{"attributes":{"rank":null,"cap":7}}""", 3);

        Assert.Equal(["attributes.rank: \"admiral\" -> ", "attributes.cap:  -> 7"], Shown((await HistoryAsync(path, "?field=attributes.rank"))[0]));
        foreach (var (field, count) in new[] { ("attributes.rank", 2), ("attributes.ship", 2), ("attributes.shoe", 1), ("attributes.none", 0), ("attributes", 4) })
        {
            Assert.Equal((field, count), (field, (await HistoryAsync(path, $"?field={field}")).Count));
        }

        var entries = await HistoryAsync(path);
        var (second, first) = ((string)entries[1]["id"]!, (string)entries[2]["id"]!);
        Assert.Equal(["attributes.ship: \"Hopper\" -> \"Cole\"", "attributes.shoe:  -> 38"], Shown(entries[1]));

        var (other, untouched) = await RestoreAsync(path, second, """{"fields":["attributes.ship","attributes.cap"]}""", 4);
        AssertProblem(other, untouched, 400, "validation_failed", "/fields/1");
        var (stale, problem) = await RestoreAsync(path, second, """{"fields":["attributes.ship"]}""", 3);
        AssertProblem(stale, problem, 412, "stale_version");

        var (_, one) = await RestoreAsync(path, second, """{"fields":["attributes.ship"]}""", 4);
        Assert.Equal("""{"cap":7,"ship":"Hopper","shoe":38}""", Attributes(one));
        var (_, whole) = await RestoreAsync(path, second, """{"fields":["attributes"]}""", 5);
        Assert.Equal("""{"cap":7,"ship":"Hopper"}""", Attributes(whole));
        var (_, none) = await RestoreAsync(path, first, "{}", 6);
        Assert.Equal("""{"cap":7}""", Attributes(none));
        Assert.Equal(["attributes.ship: \"Hopper\" -> "], Shown((await HistoryAsync(path))[0]));
        var (wrong, parameter) = await SendAsync(HttpMethod.Get, $"{path}/history?field=attributes.'");
        AssertProblem(wrong, parameter, 400, "invalid_parameter", "field");

        static string Attributes(JsonNode customer) =>
            new JsonObject(customer["attributes"]!.AsObject().OrderBy(a => a.Key, StringComparer.Ordinal).Select(a => KeyValuePair.Create(a.Key, a.Value?.DeepClone()))).ToJsonString();

        static IEnumerable<string> Shown(JsonNode entry) => entry["changes"]!.AsArray().Select(c => $"{c!["field"]}: {c["old"]?.ToJsonString()} -> {c["new"]?.ToJsonString()}");
    }

    [Fact]
    public async Task Of_a_list_only_the_entries_that_a_change_touched_are_restored()
    {
        var (a, b, c, d) = (NewEmail(), NewEmail(), NewEmail(), NewEmail());
        var street = Unique();
        var customer = await CreatePersonAsync("Grace", "Hopper", a);
        var path = $"/v1/customers/{customer["id"]}";
        var (home, billing, work) = (Place("home", "1"), Place("billing", "1"), Place("work", "2"));
        await PatchAsync(path, $$"""{"emails":[{"address":"{{a}}"},{"address":"{{b}}","type":"work"}],"addresses":[{{home}},{{billing}}],"tags":["one","two"]}""", 1);
        await PatchAsync(path, $$"""{"emails":[{"address":"{{b}}","type":"home"},{"address":"{{c}}"}],"addresses":[{{home}}],"tags":["two","three"]}""", 2);
        await PatchAsync(path, $$"""{"emails":[{"address":"{{d}}"},{"address":"{{b}}","type":"home"},{"address":"{{c}}","type":"work"}],"addresses":[{{home}},{{work}}],"tags":["two","three","four"]}""", 3);
        var change = (string)(await HistoryAsync(path))[1]["id"]!;

        var (response, restored) = await RestoreAsync(path, change, """{"fields":["emails","addresses","tags"]}""", 4);
        Assert.True(response.IsSuccessStatusCode, restored.ToJsonString());
        // The change took a away, which was primary, and put c in; d came later.
        Assert.Equal([$"{a} other True", $"{b} work False", $"{d} other False"], restored["emails"]!.AsArray().Select(e => $"{e!["address"]} {e["type"]} {(bool)e["primary"]!}"));
        Assert.Equal(["home 1", "billing 1", "work 2"], restored["addresses"]!.AsArray().Select(p => $"{p!["type"]} {((string)p["lines"]![0]!).Split(' ')[1]}"));
        Assert.Equal(["four", "one", "two"], restored["tags"]!.AsArray().Select(t => (string)t!));

        // Nothing was changed since: it is what it was.
        var (_, undone) = await RestoreAsync(path, (string)(await HistoryAsync(path))[0]["id"]!, "{}", 5);
        Assert.Equal([d, b, c], undone["emails"]!.AsArray().Select(e => (string)e!["address"]!));
        Assert.True((bool)undone["emails"]![0]!["primary"]!);

        string Place(string type, string number) => $$"""{"lines":["{{street}} {{number}}"],"city":"London","country":"GB","type":"{{type}}"}""";
    }

    [Fact]
    public async Task A_restore_of_something_else_or_of_a_stale_version_changes_nothing()
    {
        var (customer, other) = (await CreatePersonAsync(), await CreatePersonAsync());
        var path = $"/v1/customers/{customer["id"]}";
        var change = (string)(await HistoryAsync(path))[0]["id"]!;
        var foreign = (string)(await HistoryAsync($"/v1/customers/{other["id"]}"))[0]["id"]!;

        var (unknown, field) = await RestoreAsync(path, change, """{"fields":["tier","shoe_size"]}""", 1);
        AssertProblem(unknown, field, 400, "validation_failed", "/fields/1");
        foreach (var fields in new[] { "{}", """{"fields":["given_name"]}""" })
        {
            var (creation, before) = await RestoreAsync(path, change, fields, 1);
            AssertProblem(creation, before, 409, "conflict");
        }

        var (elsewhere, missing) = await RestoreAsync(path, foreign, "{}", 1);
        AssertProblem(elsewhere, missing, 404, "not_found");
        var (stale, problem) = await RestoreAsync(path, change, "{}", 7);
        AssertProblem(stale, problem, 412, "stale_version");
        var (wrong, parameter) = await SendAsync(HttpMethod.Get, $"{path}/history?field='--");
        AssertProblem(wrong, parameter, 400, "invalid_parameter");
        var (_, read) = await SendAsync(HttpMethod.Get, path);
        Assert.Equal(1, (int?)read["version"]);
    }

    [Fact]
    public async Task The_audit_log_only_grows_verifies_after_an_erasure_of_values_and_shows_every_tampering()
    {
        var customer = await CreatePersonAsync("Grace", "Hopper");
        await PatchAsync($"/v1/customers/{customer["id"]}", """{"family_name":"Murray"}""", 1);
        Assert.True(Ids.Customer.TryParse((string?)customer["id"], out var id));
        await using var database = await Fixture.DatabaseAsync("contacts");
        var whole = await VerifyAsync(0);
        Assert.Contains("whole: ", whole, StringComparison.Ordinal);

        var refused = await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync($"UPDATE audit_entry SET actor = 'nobody' WHERE record_id = '{id}'"));
        Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, refused.SqlState);
        await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync($"DELETE FROM audit_entry WHERE record_id = '{id}'"));
        await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync($"UPDATE audit_value SET changes = '{{}}' WHERE entry_id IN (SELECT id FROM audit_entry WHERE record_id = '{id}')"));

        await TamperAsync("audit_entry", $"UPDATE audit_entry SET actor = 'nobody' WHERE record_id = '{id}' AND action = 'updated'");
        Assert.Contains("is not what was chained", await VerifyAsync(1), StringComparison.Ordinal);
        await TamperAsync("audit_entry", $"UPDATE audit_entry SET actor = 'key_test' WHERE record_id = '{id}'");
        await TamperAsync("audit_value", $"UPDATE audit_value SET changes = replace(changes, 'Murray', 'Byron') WHERE entry_id IN (SELECT id FROM audit_entry WHERE record_id = '{id}')");
        Assert.Contains("are not what was recorded", await VerifyAsync(1), StringComparison.Ordinal);

        await TamperAsync("audit_value", $"UPDATE audit_value SET changes = replace(changes, 'Byron', 'Murray') WHERE entry_id IN (SELECT id FROM audit_entry WHERE record_id = '{id}')");

        // Put back afterwards: other tests verify the chain of this database too.
        var values = $"put_aside_{Unique()}";
        await ExecuteAsync($"CREATE TABLE {values} AS SELECT v.* FROM audit_value v JOIN audit_entry e ON e.id = v.entry_id WHERE e.record_id = '{id}' AND e.action = 'updated'");
        await ExecuteAsync($"DELETE FROM audit_value WHERE entry_id IN (SELECT entry_id FROM {values})");
        Assert.Contains("are missing, and no entry says that they were erased", await VerifyAsync(1), StringComparison.Ordinal);
        await ExecuteAsync($"INSERT INTO audit_value SELECT * FROM {values}; DROP TABLE {values}");

        var entries = $"put_aside_{Unique()}";
        await TamperAsync("audit_entry", $"CREATE TABLE {entries} AS SELECT e.*, v.salt, v.changes FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE record_id = '{id}' AND action = 'created'");
        await ExecuteAsync($"DELETE FROM audit_value WHERE entry_id IN (SELECT id FROM {entries})");
        await TamperAsync("audit_entry", $"DELETE FROM audit_entry WHERE id IN (SELECT id FROM {entries})");
        Assert.Contains("is missing", await VerifyAsync(1), StringComparison.Ordinal);
        await TamperAsync("audit_entry", $"INSERT INTO audit_entry SELECT id, at, actor, trace_id, action, record_type, record_id, customer_id, digest, seq, hash FROM {entries}");
        await ExecuteAsync($"INSERT INTO audit_value SELECT id, salt, changes FROM {entries}; DROP TABLE {entries}");

        // As who erases does: the log says so.
        await ExecuteAsync($"SELECT set_config('crm.erasing_by', 'key_test', true); DELETE FROM audit_value WHERE entry_id IN (SELECT id FROM audit_entry WHERE record_id = '{id}' AND action = 'updated')");
        await VerifyAsync(0);
        Assert.Equal([true, false], (await HistoryAsync($"/v1/customers/{customer["id"]}")).Select(e => e["changes"] is null));
        var (accepted, erasure) = await SendAsync(HttpMethod.Post, $"/v1/customers/{customer["id"]}/erasures", """{"reason":"Asked for"}""", ("If-Match", "*"));
        Assert.True(accepted.StatusCode == HttpStatusCode.Accepted, erasure.ToJsonString());
        // Other tests erase at the same time.
        Assert.InRange(Erased(await VerifyAsync(0)), Erased(whole) + 2, int.MaxValue);
        var guarded = await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync("DELETE FROM audit_head"));
        Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, guarded.SqlState);

        static int Erased(string verified) =>
            System.Text.RegularExpressions.Regex.Match(verified, @"(\d+) with erased values") is { Success: true } found ? int.Parse(found.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) : 0;

        Task<string> VerifyAsync(int exitCode) => this.VerifyAsync(exitCode);

        Task ExecuteAsync(string sql) => HistoryTests.ExecuteAsync(database, sql);

        Task TamperAsync(string table, string sql) => HistoryTests.TamperAsync(database, table, sql);
    }

    [Fact]
    public async Task What_is_cut_off_at_the_end_of_the_audit_log_is_missed_and_a_head_kept_outside_proves_it_against_its_owner()
    {
        await CreatePersonAsync("Grace", "Hopper");
        await using var database = await Fixture.DatabaseAsync("contacts");
        var head = await HeadAsync();
        Assert.Contains("whole: ", await VerifyAsync(0, "--head", head), StringComparison.Ordinal);
        var (seq, hash) = (long.Parse(head.Split(':')[0], CultureInfo.InvariantCulture), head.Split(':')[1]);
        Assert.Contains("is not the head that was kept of it", await VerifyAsync(1, "--head", $"{seq}:{new string('0', 64)}"), StringComparison.Ordinal);
        Assert.Contains("it ends with entry ", await VerifyAsync(1, "--head", $"{seq + 1_000_000}:{hash}"), StringComparison.Ordinal);
        await VerifyAsync(2, "--head", hash);

        // Nobody links entries meanwhile, so that the last one stays the last.
        await using var connection = await database.OpenConnectionAsync(Ct);
        await HoldChainAsync("SELECT pg_advisory_lock(x'43524D415544'::bigint)");
        var last = await HeadAsync();
        var (end, before) = (long.Parse(last.Split(':')[0], CultureInfo.InvariantCulture), $"put_aside_{Unique()}");
        await ExecuteAsync(database, $"CREATE TABLE {before} AS SELECT e.*, v.salt, v.changes FROM audit_entry e LEFT JOIN audit_value v ON v.entry_id = e.id WHERE seq = {end}");
        try
        {
            await ExecuteAsync(database, $"DELETE FROM audit_value WHERE entry_id IN (SELECT id FROM {before})");
            await TamperAsync(database, "audit_entry", $"DELETE FROM audit_entry WHERE id IN (SELECT id FROM {before})");
            Assert.Contains($"it ends with entry {end - 1}, and had {end}", await VerifyAsync(1), StringComparison.Ordinal);

            // An owner of the database who knows of the guard rewrites it too.
            await TamperAsync(database, "audit_head", $"UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM audit_entry WHERE seq = {end - 1})");
            Assert.DoesNotContain("it ends with", (await Fixture.Platform["contacts"].RunModeAsync(["--audit", "verify"], Ct)).Output, StringComparison.Ordinal);
            Assert.Contains($"it ends with entry {end - 1}, and had {end}", await VerifyAsync(1, "--head", last), StringComparison.Ordinal);
        }
        finally
        {
            // Other tests verify the chain of this database too.
            await TamperAsync(database, "audit_entry", $"INSERT INTO audit_entry SELECT id, at, actor, trace_id, action, record_type, record_id, customer_id, digest, seq, hash FROM {before}");
            await ExecuteAsync(database, $"INSERT INTO audit_value SELECT id, salt, changes FROM {before} WHERE salt IS NOT NULL");
            await TamperAsync(database, "audit_head", $"UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM {before})");
            await ExecuteAsync(database, $"DROP TABLE {before}");
            await HoldChainAsync("SELECT pg_advisory_unlock_all()");
        }

        await VerifyAsync(0, "--head", last);

        async Task<string> HeadAsync() => (await VerifyAsync(0)).Trim().Split("head ")[1];

        async Task HoldChainAsync(string sql)
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await command.ExecuteNonQueryAsync(Ct);
        }
    }

    [Fact]
    public async Task What_verify_and_export_print_is_a_head_to_verify_against_later()
    {
        await CreatePersonAsync("Grace", "Hopper");
        var verified = await VerifyAsync(0);
        var exported = (await Fixture.Platform["contacts"].RunModeAsync(["--audit", "export"], Ct)).Output;
        foreach (var printed in (string[])[verified, exported])
        {
            // As ./crm audit prints it, under the name of each service.
            var heads = AuditCommand.ReadHeads(["contacts:", .. printed.Trim().Split('\n').Select(l => $"  {l}"), "gateway:", "  none"]);
            var (service, head) = Assert.Single(heads);
            Assert.Equal("contacts", service);
            await VerifyAsync(0, "--head", head);
        }
    }

    private async Task<string> VerifyAsync(int exitCode, params string[] options)
    {
        var result = await Fixture.Platform["contacts"].RunModeAsync(["--audit", "verify", .. options], Ct);
        Assert.True(exitCode == result.ExitCode, result.Output);
        return result.Output;
    }

    private static async Task ExecuteAsync(NpgsqlDataSource database, string sql)
    {
        await using var command = database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(Ct);
    }

    // As somebody with the rights of the owner would.
    private static async Task TamperAsync(NpgsqlDataSource database, string table, string sql) =>
        await ExecuteAsync(database, $"ALTER TABLE {table} DISABLE TRIGGER USER; {sql}; ALTER TABLE {table} ENABLE TRIGGER USER");

    private Task<(HttpResponseMessage Response, JsonNode Body)> PatchAsync(string path, string json, int version) =>
        SendAsync(HttpMethod.Patch, path, json, ("If-Match", $"\"{version}\""));

    private Task<(HttpResponseMessage Response, JsonNode Body)> RestoreAsync(string path, string entry, string json, int version) =>
        SendAsync(HttpMethod.Post, $"{path}/history/{entry}/restore", json, ("If-Match", $"\"{version}\""));

    private async Task<IReadOnlyList<JsonNode>> HistoryAsync(string path, string query = "")
    {
        var (response, body) = await SendAsync(HttpMethod.Get, $"{path}/history{query}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return [.. body["data"]!.AsArray().Select(e => e!)];
    }
}
