using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
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

        await ExecuteAsync($"DELETE FROM audit_value WHERE entry_id IN (SELECT id FROM audit_entry WHERE customer_id = '{id}')");
        // Other tests erase at the same time.
        Assert.InRange(Erased(await VerifyAsync(0)), Erased(whole) + 2, int.MaxValue);
        Assert.All(await HistoryAsync($"/v1/customers/{customer["id"]}"), e => Assert.Null(e["changes"]));

        // Put back afterwards: other tests verify the chain of this database too.
        await TamperAsync("audit_entry", $"CREATE TABLE put_aside AS SELECT * FROM audit_entry WHERE record_id = '{id}' AND action = 'created'; DELETE FROM audit_entry WHERE id IN (SELECT id FROM put_aside)");
        Assert.Contains("is missing", await VerifyAsync(1), StringComparison.Ordinal);
        await TamperAsync("audit_entry", "INSERT INTO audit_entry SELECT * FROM put_aside; DROP TABLE put_aside");
        await VerifyAsync(0);

        static int Erased(string verified) =>
            System.Text.RegularExpressions.Regex.Match(verified, @"(\d+) with erased values") is { Success: true } found ? int.Parse(found.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) : 0;

        async Task<string> VerifyAsync(int exitCode)
        {
            var result = await Fixture.Platform["contacts"].RunModeAsync(["--audit", "verify"], Ct);
            Assert.Equal(exitCode, result.ExitCode);
            return result.Output;
        }

        async Task ExecuteAsync(string sql)
        {
            await using var command = database.CreateCommand(sql);
            await command.ExecuteNonQueryAsync(Ct);
        }

        // As somebody with the rights of the owner would.
        async Task TamperAsync(string table, string sql) =>
            await ExecuteAsync($"ALTER TABLE {table} DISABLE TRIGGER USER; {sql}; ALTER TABLE {table} ENABLE TRIGGER USER");
    }

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
