using System.Globalization;
using System.Net;
using Crm.Contracts;
using Crm.Testing;

namespace Interactions.Tests;

public sealed class InteractionTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _api = fixture.Api;

    [Fact]
    public async Task A_logged_interaction_reads_back_as_it_was_sent_and_is_published()
    {
        var customer = await fixture.CustomerAsync();
        var created = await _api.PostAsync("/v1/interactions", $$"""
            {"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-01T10:00:00+01:00","ended_at":"2026-03-01T09:12:30.5Z",
             "time_zone":"Europe/London","employee":"jane@corp.example","participants":["Ada Byron","bob@corp.example"],"subject":"Wrong size","body":"Line one\nLine two"}
            """, Ct);
        Assert.Equal(HttpStatusCode.Created, created.Status);

        var read = await _api.CallAsync($"{created.Headers.Location}", Ct);
        Assert.Equal("\"1\"", read.ETag);
        Assert.Equal(customer, (string?)read["customer_id"]);
        Assert.Equal("call", (string?)read["channel"]);
        Assert.Equal("inbound", (string?)read["direction"]);
        Assert.Equal(DateTimeOffset.Parse("2026-03-01T09:00:00Z", CultureInfo.InvariantCulture), (DateTimeOffset)read["started_at"]!);
        Assert.EndsWith("Z", (string)read["started_at"]!, StringComparison.Ordinal);
        Assert.Equal(DateTimeOffset.Parse("2026-03-01T09:12:30.5Z", CultureInfo.InvariantCulture), (DateTimeOffset)read["ended_at"]!);
        Assert.Equal("Europe/London", (string?)read["time_zone"]);
        Assert.Equal("jane@corp.example", (string?)read["employee"]);
        Assert.Equal("""["Ada Byron","bob@corp.example"]""", read["participants"]!.ToJsonString());
        Assert.Equal("Line one\nLine two", (string?)read["body"]);
        Assert.Equal("key_test", (string?)read["recorded_by"]);

        var id = (string)read["id"]!;
        var published = await Eventually.GetAsync(() => Task.FromResult(fixture.Logged.FirstOrDefault(e => e.Id == id)), e => e is not null, ct: Ct);
        Assert.Equal((1L, customer, "call", "inbound"), (published!.Version, published.CustomerId, published.Channel, published.Direction));
    }

    [Fact]
    public async Task A_customer_of_a_moment_ago_is_asked_for_when_the_copy_lags()
    {
        var customer = await fixture.CustomerAsync();
        await using (var forget = fixture.Database.CreateCommand("DELETE FROM customers WHERE id = $1"))
        {
            Assert.True(Ids.Customer.TryParse(customer, out var id));
            forget.Parameters.Add(new Npgsql.NpgsqlParameter<Guid> { TypedValue = id });
            await forget.ExecuteNonQueryAsync(Ct);
        }

        await LogAsync(customer);
        Assert.Single((await _api.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data);
    }

    [Theory]
    [InlineData("meeting")]
    [InlineData("call")]
    [InlineData("email")]
    [InlineData("online")]
    [InlineData("chat")]
    [InlineData("letter")]
    public async Task Every_front_office_channel_can_be_logged(string channel)
    {
        var logged = await LogAsync(await fixture.CustomerAsync(), channel: channel);
        Assert.Equal(channel, (string?)logged["channel"]);
    }

    [Fact]
    public async Task An_interaction_without_its_required_fields_names_each_of_them()
    {
        var answer = await _api.PostAsync("/v1/interactions", "{}", Ct);
        Assert.Equal("validation_failed", answer.Code);
        Assert.Equal(["/channel required", "/customer_id required", "/direction required", "/started_at required"], answer.Errors.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("\"ended_at\":\"2026-02-28T23:59:59Z\"", "/ended_at out_of_range")]
    [InlineData("\"time_zone\":\"Mars/Olympus\"", "/time_zone unknown_value")]
    [InlineData("\"employee\":\"jane\\r\\nBcc: all@corp.example\"", "/employee bad_text")]
    [InlineData("\"participants\":[\"Ada\",\"two\\nlines\"]", "/participants/1 bad_text")]
    [InlineData("\"participants\":[null]", "/participants/0 bad_text")]
    [InlineData("\"started_at\":\"2026-03-01T10:00:00\"", "/started_at wrong_type")]
    [InlineData("\"channel\":\"pigeon\"", "/channel wrong_type")]
    [InlineData("\"direction\":1", "/direction wrong_type")]
    [InlineData("\"version\":7", "/version unknown_field")]
    [InlineData("\"customer_id\":\"4711\"", "/customer_id wrong_format")]
    public async Task A_field_that_is_wrong_is_named(string member, string error)
    {
        var fields = new Dictionary<string, string>
        {
            ["customer_id"] = $"\"{await fixture.CustomerAsync()}\"",
            ["channel"] = "\"call\"",
            ["direction"] = "\"inbound\"",
            ["started_at"] = "\"2026-03-01T10:00:00Z\"",
        };
        fields.Remove(member.Split('"')[1]);
        var answer = await _api.PostAsync("/v1/interactions", $"{{{string.Join(',', fields.Select(f => $"\"{f.Key}\":{f.Value}").Append(member))}}}", Ct);
        Assert.Equal("validation_failed", answer.Code);
        Assert.Equal([error], answer.Errors);
    }

    [Fact]
    public async Task A_customer_who_does_not_exist_is_an_unknown_customer()
    {
        var answer = await _api.PostAsync("/v1/interactions", Body(Ids.Customer.Format(Guid.CreateVersion7())), Ct);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.Status);
        Assert.Equal("unknown_customer", answer.Code);
        Assert.Equal(["/customer_id unknown_customer"], answer.Errors);
    }

    [Fact]
    public async Task A_patch_changes_what_it_names_and_moves_the_interaction_on_the_timelines()
    {
        var (first, second) = (await fixture.CustomerAsync(), await fixture.CustomerAsync());
        var logged = await LogAsync(first, subject: "Wrong size");
        var path = $"/v1/interactions/{logged["id"]}";

        Assert.Equal(HttpStatusCode.PreconditionRequired, (await _api.PatchAsync(path, """{"subject":"x"}""", null, Ct)).Status);
        var same = await _api.PatchAsync(path, """{"subject":"Wrong size"}""", "\"1\"", Ct);
        Assert.Equal(("\"1\"", 1), (same.ETag, (int)same["version"]!));

        var patched = await _api.PatchAsync(path, $$"""{"customer_id":"{{second}}","subject":null,"channel":"meeting"}""", "\"1\"", Ct);
        Assert.Equal(("\"2\"", null, "meeting", "inbound"), (patched.ETag, (string?)patched["subject"], (string?)patched["channel"], (string?)patched["direction"]));
        Assert.Equal(HttpStatusCode.PreconditionFailed, (await _api.PatchAsync(path, """{"subject":"late"}""", "\"1\"", Ct)).Status);

        Assert.Empty((await _api.CallAsync($"/v1/customers/{first}/timeline", Ct)).Data);
        Assert.Equal("meeting, inbound", (string?)Assert.Single((await _api.CallAsync($"/v1/customers/{second}/timeline", Ct)).Data)["summary"]);
        await Eventually.GetAsync(() => Task.FromResult(fixture.Logged.Where(e => e.Id == (string?)logged["id"]).Select(e => (e.Version, e.CustomerId)).ToList()),
            events => events.SequenceEqual([(1, first), (2, second)]), ct: Ct);
    }

    [Theory]
    [InlineData("""{"ended_at":"2020-01-01T00:00:00Z"}""", "/ended_at out_of_range")]
    [InlineData("""{"started_at":null}""", "/started_at required")]
    [InlineData("""{"id":"int_1"}""", "/id unknown_field")]
    public async Task A_patch_is_held_to_the_rules_of_a_create(string patch, string error)
    {
        var logged = await LogAsync(await fixture.CustomerAsync());
        var answer = await _api.PatchAsync($"/v1/interactions/{logged["id"]}", patch, "\"1\"", Ct);
        Assert.Equal([error], answer.Errors);
        Assert.Equal("\"1\"", (await _api.CallAsync($"/v1/interactions/{logged["id"]}", Ct)).ETag);
    }

    [Fact]
    public async Task Of_twenty_patches_of_one_version_one_wins()
    {
        var logged = await LogAsync(await fixture.CustomerAsync());
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i =>
            _api.PatchAsync($"/v1/interactions/{logged["id"]}", $$"""{"subject":"{{i}}"}""", "\"1\"", Ct)));
        Assert.Single(answers, a => a.Status == HttpStatusCode.OK);
        Assert.Equal(19, answers.Count(a => a.Code == "stale_version"));
    }

    [Fact]
    public async Task An_upsert_replaces_the_whole_and_tells_what_it_did()
    {
        var customer = await fixture.CustomerAsync();
        var path = $"/v1/interactions/by-external-id/mailbox/{Uri.EscapeDataString($"<{Guid.NewGuid():n}@mail.example>")}";

        var created = await _api.PutAsync(path, Body(customer, subject: "Hello"), Ct);
        Assert.Equal((HttpStatusCode.Created, "created"), (created.Status, (string?)created["result"]));
        var unchanged = await _api.PutAsync(path, Body(customer, subject: "Hello"), Ct);
        Assert.Equal((HttpStatusCode.OK, "unchanged", 1), (unchanged.Status, (string?)unchanged["result"], (int)unchanged["version"]!));
        var updated = await _api.PutAsync(path, Body(customer), Ct);
        Assert.Equal(("updated", 2, null), ((string?)updated["result"], (int)updated["version"]!, (string?)updated["subject"]));
        Assert.Equal((string?)created["id"], (string?)updated["id"]);
        Assert.Equal("mailbox", (string?)updated["external_id"]!["system"]);
        Assert.Equal((string?)created["id"], (string?)(await _api.CallAsync(path, Ct))["id"]);
        await Eventually.GetAsync(() => Task.FromResult(fixture.Logged.Count(e => e.Id == (string?)created["id"])), count => count == 2, ct: Ct);
    }

    [Theory]
    [InlineData("Mail%20Box/1", "source wrong_format")]
    [InlineData("mailbox/one%0D%0Atwo", "externalId wrong_format")]
    public async Task An_external_id_that_is_none_is_refused(string id, string error)
    {
        var answer = await _api.PutAsync($"/v1/interactions/by-external-id/{id}", Body(await fixture.CustomerAsync()), Ct);
        Assert.Equal([error], answer.Errors);
    }

    [Fact]
    public async Task Thirty_racing_instances_that_report_one_mail_make_one_interaction_and_one_event()
    {
        var customer = await fixture.CustomerAsync();
        var path = $"/v1/interactions/by-external-id/mailbox/{Guid.NewGuid():n}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => _api.PutAsync(path, Body(customer), Ct)));
        Assert.Equal(["created", .. Enumerable.Repeat("unchanged", 29)], answers.Select(a => (string?)a["result"] ?? $"{a}").Order(StringComparer.Ordinal));
        Assert.Single(answers.Select(a => (string?)a["id"]).Distinct());
        Assert.Single((await _api.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data);
        // Events of one interaction come in order: what was published before its change is heard when the change is.
        var changed = await _api.PutAsync(path, Body(customer, subject: "Last"), Ct);
        Assert.Equal(("updated", 2), ((string?)changed["result"], (int)changed["version"]!));
        await Eventually.GetAsync(() => Task.FromResult(fixture.Logged.Any(e => e.Id == (string?)changed["id"] && e.Version == 2)), heard => heard, ct: Ct);
        Assert.Single(fixture.Logged, e => e.CustomerId == customer && e.Version == 1);
        Assert.Equal(2, fixture.Logged.Count(e => e.CustomerId == customer));
    }

    [Fact]
    public async Task Thirty_requests_under_one_idempotency_key_make_one_interaction()
    {
        var customer = await fixture.CustomerAsync();
        var key = Guid.NewGuid().ToString();
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ =>
            _api.CallAsync(HttpMethod.Post, "/v1/interactions", Body(customer), [("Idempotency-Key", key)], Ct)));
        Assert.Single(answers.Select(a => a.ToString()).Distinct());
        Assert.All(answers, a => Assert.Equal(HttpStatusCode.Created, a.Status));
        Assert.Single((await _api.CallAsync($"/v1/interactions?customer_id={customer}", Ct)).Data);
    }

    [Fact]
    public async Task The_list_is_filtered_and_paged_without_a_gap()
    {
        var customer = await fixture.CustomerAsync();
        var ids = new List<string>();
        for (var i = 0; i < 7; i++)
        {
            ids.Add((string)(await LogAsync(customer, channel: i % 2 == 0 ? "call" : "email", startedAt: $"2026-03-0{i + 1}T10:00:00Z"))["id"]!);
        }

        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var page = await _api.CallAsync($"/v1/interactions?customer_id={customer}&limit=3{(cursor is null ? "" : $"&cursor={cursor}")}", Ct);
            seen.AddRange(page.Data.Select(d => (string)d["id"]!));
            cursor = (string?)page["next_cursor"];
        }
        while (cursor is not null);

        Assert.Equal(Enumerable.Reverse(ids), seen);
        Assert.Equal(4, (await _api.CallAsync($"/v1/interactions?customer_id={customer}&channel=call&direction=inbound", Ct)).Data.Count);
        Assert.Empty((await _api.CallAsync($"/v1/interactions?customer_id={customer}&direction=outbound", Ct)).Data);
        var range = await _api.CallAsync($"/v1/interactions?customer_id={customer}&started_at[gte]=2026-03-02T10:00:00Z&started_at[lt]=2026-03-04T10:00:00Z", Ct);
        Assert.Equal([ids[2], ids[1]], range.Data.Select(d => (string)d["id"]!));
    }

    [Theory]
    [InlineData("customer_id=4711", "invalid_parameter")]
    [InlineData("channel=pigeon", "invalid_parameter")]
    [InlineData("direction=up", "invalid_parameter")]
    [InlineData("started_at[gte]=yesterday", "invalid_parameter")]
    [InlineData("limit=101", "invalid_parameter")]
    [InlineData("cursor=ord_1", "invalid_parameter")]
    [InlineData("employee=jane", "unknown_parameter")]
    public async Task A_query_that_cannot_be_answered_is_refused(string query, string code)
    {
        var answer = await _api.CallAsync($"/v1/interactions?{query}", Ct);
        Assert.Equal((HttpStatusCode.BadRequest, code), (answer.Status, answer.Code));
    }

    [Fact]
    public async Task Reading_and_writing_each_need_their_scope()
    {
        using var reader = fixture.CreateClient("interactions", Scopes.InteractionsRead);
        using var writer = fixture.CreateClient("interactions", Scopes.InteractionsWrite);
        var customer = await fixture.CustomerAsync();
        Assert.Equal("insufficient_scope", (await reader.PostAsync("/v1/interactions", Body(customer), Ct)).Code);
        Assert.Equal(HttpStatusCode.Created, (await writer.PostAsync("/v1/interactions", Body(customer), Ct)).Status);
        Assert.Equal("insufficient_scope", (await writer.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Code);
        Assert.Single((await reader.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data);
    }

    [Theory]
    [InlineData("/v1/interactions/int_1")]
    [InlineData("/v1/interactions/cus_00000000000000000000000000")]
    [InlineData("/v1/interactions/int_00000000000000000000000000")]
    [InlineData("/v1/interactions/by-external-id/shop/'%3B%20DROP%20TABLE%20timeline%3B--")]
    public async Task An_unknown_interaction_is_not_found(string path) => Assert.Equal("not_found", (await _api.CallAsync(path, Ct)).Code);

    private async Task<JsonAnswer> LogAsync(string customer, string channel = "call", string startedAt = "2026-03-01T10:00:00Z", string? subject = null)
    {
        var logged = await _api.PostAsync("/v1/interactions", Body(customer, channel, startedAt, subject), Ct);
        Assert.Equal(HttpStatusCode.Created, logged.Status);
        return logged;
    }

    private static string Body(string customer, string channel = "call", string startedAt = "2026-03-01T10:00:00Z", string? subject = null) =>
        $$"""{"customer_id":"{{customer}}","channel":"{{channel}}","direction":"inbound","started_at":"{{startedAt}}"{{(subject is null ? "" : $",\"subject\":\"{subject}\"")}}}""";
}
