using System.Net;
using Crm.Contracts;
using Crm.Testing;

namespace Support.Tests;

public sealed class CaseTests(SupportFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _api = fixture.Api;

    [Fact]
    public async Task An_opened_case_reads_back_as_it_was_sent_and_is_published()
    {
        var customer = await fixture.CustomerAsync();
        var created = await _api.PostAsync("/v1/cases",
            $$"""{"customer_id":"{{customer}}","type":"problem","subject":"It does not play","description":"Neither side\nplays","priority":"urgent","queue":"returns"}""", Ct);
        Assert.Equal(HttpStatusCode.Created, created.Status);
        Assert.Equal("\"1\"", created.ETag);

        var read = await _api.CallAsync($"{created.Headers.Location}", Ct);
        Assert.Equal(
            (customer, "problem", "It does not play", "Neither side\nplays", "urgent", "returns", "open"),
            ((string)read["customer_id"]!, (string)read["type"]!, (string)read["subject"]!, (string)read["description"]!, (string)read["priority"]!, (string)read["queue"]!, (string)read["status"]!));
        Assert.Empty(read["messages"]!.AsArray());
        Assert.Equal(["opened open key_test 1"], History(read));

        var change = Assert.Single(await ChangesAsync((string)read["id"]!, 1));
        Assert.Equal((1L, customer, "problem", "It does not play", "urgent", "returns", "open", "opened"),
            (change.Version, change.CustomerId, change.Type, change.Subject, change.Priority, change.Queue, change.Status, change.Change));
        Assert.Null(change.SolvedAt);
    }

    [Theory]
    [InlineData("question", "normal")]
    [InlineData("problem", "normal")]
    [InlineData("complaint", "high")]
    public async Task A_complaint_is_urgent_by_default_and_the_others_are_not(string type, string priority)
    {
        var opened = await OpenAsync(type);
        Assert.Equal((priority, "general"), ((string?)opened["priority"], (string?)opened["queue"]));
    }

    [Fact]
    public async Task A_case_without_its_required_fields_names_each_of_them()
    {
        var answer = await _api.PostAsync("/v1/cases", "{}", Ct);
        Assert.Equal("validation_failed", answer.Code);
        Assert.Equal(["/customer_id required", "/subject required", "/type required"], answer.Errors.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("\"subject\":\"two\\r\\nlines\"", "/subject bad_text")]
    [InlineData("\"subject\":\" \"", "/subject required")]
    [InlineData("\"type\":\"compliment\"", "/type wrong_type")]
    [InlineData("\"priority\":3", "/priority wrong_type")]
    [InlineData("\"queue\":\"Our Returns\"", "/queue wrong_format")]
    [InlineData("\"status\":\"solved\"", "/status unknown_field")]
    [InlineData("\"customer_id\":\"4711\"", "/customer_id wrong_format")]
    public async Task A_field_that_is_wrong_is_named(string member, string error)
    {
        var fields = new Dictionary<string, string>
        {
            ["customer_id"] = $"\"{await fixture.CustomerAsync()}\"",
            ["type"] = "\"question\"",
            ["subject"] = "\"Where is it?\"",
        };
        fields.Remove(member.Split('"')[1]);
        var answer = await _api.PostAsync("/v1/cases", $"{{{string.Join(',', fields.Select(f => $"\"{f.Key}\":{f.Value}").Append(member))}}}", Ct);
        Assert.Equal("validation_failed", answer.Code);
        Assert.Equal([error], answer.Errors);
    }

    [Fact]
    public async Task A_customer_who_does_not_exist_is_an_unknown_customer()
    {
        var answer = await _api.PostAsync("/v1/cases", Body(Ids.Customer.Format(Guid.CreateVersion7())), Ct);
        Assert.Equal((HttpStatusCode.UnprocessableEntity, "unknown_customer"), (answer.Status, answer.Code));
    }

    [Fact]
    public async Task Whoever_was_written_to_has_the_next_word()
    {
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        var ours = await _api.PostAsync($"{path}/messages", """{"direction":"outbound","body":"Which colour?","author":"jane@corp.example"}""", Ct);
        Assert.Equal((HttpStatusCode.Created, "waiting", 2), (ours.Status, (string?)ours["case_status"], (int)ours["case_version"]!));
        await _api.PostAsync($"{path}/messages", """{"direction":"outbound","body":"Are you there?"}""", Ct);
        var theirs = await _api.PostAsync($"{path}/messages", """{"direction":"inbound","body":"Blue.\nThank you."}""", Ct);
        Assert.Equal("open", (string?)theirs["case_status"]);

        var read = await _api.CallAsync(path, Ct);
        Assert.Equal("open", (string?)read["status"]);
        Assert.Equal(["outbound Which colour?", "outbound Are you there?", "inbound Blue.\nThank you."], Messages(read));
        Assert.Equal("jane@corp.example", (string?)read["messages"]![0]!["author"]);
        Assert.Equal(["opened open key_test 1", "replied waiting key_test 2", "replied waiting key_test 3", "replied open key_test 4"], History(read));
    }

    [Fact]
    public async Task A_customer_who_writes_again_reopens_a_solved_case()
    {
        var opened = await OpenAsync("complaint");
        var path = $"/v1/cases/{opened["id"]}";
        var solved = await _api.PostAsync($"{path}/solve", """{"resolution":"Sent a new one"}""", Ct);
        Assert.Equal(("solved", "Sent a new one"), ((string?)solved["status"], (string?)solved["resolution"]));
        Assert.NotNull(solved["solved_at"]);
        Assert.Equal("solved", (string?)(await _api.PostAsync($"{path}/messages", """{"direction":"outbound","body":"Enjoy it"}""", Ct))["case_status"]);
        Assert.Equal("open", (string?)(await _api.PostAsync($"{path}/messages", """{"direction":"inbound","body":"Broken too"}""", Ct))["case_status"]);

        var read = await _api.CallAsync(path, Ct);
        Assert.Null(read["solved_at"]);
        Assert.Equal(
            ["opened open key_test 1", "solved solved key_test 2", "replied solved key_test 3", "replied solved key_test 4", "reopened open key_test 4"],
            History(read));
        Assert.Equal(["opened", "solved", "replied", "reopened"], (await ChangesAsync((string)opened["id"]!, 4)).Select(c => c.Change));
    }

    [Fact]
    public async Task A_case_is_assigned_solved_and_reopened_and_each_step_is_dated_with_who_did_it()
    {
        var opened = await OpenAsync();
        var path = $"/v1/cases/{opened["id"]}";
        Assert.Equal("jane@corp.example", (string?)(await _api.PostAsync($"{path}/assign", """{"assignee":"jane@corp.example"}""", Ct))["assignee"]);
        var again = await _api.PostAsync($"{path}/assign", """{"assignee":"jane@corp.example"}""", Ct);
        Assert.Equal((HttpStatusCode.OK, "\"2\""), (again.Status, again.ETag));
        await _api.PostAsync($"{path}/solve", """{"resolution":"Explained"}""", Ct);
        var reopened = await _api.PostAsync($"{path}/reopen", """{"reason":"Explained the wrong thing"}""", Ct);
        Assert.Equal(("open", "\"4\""), ((string?)reopened["status"], reopened.ETag));

        var read = await _api.CallAsync(path, Ct);
        Assert.Equal(["opened open key_test 1", "assigned open key_test 2", "solved solved key_test 3", "reopened open key_test 4"], History(read));
        Assert.Equal([null, "jane@corp.example", "Explained", "Explained the wrong thing"], read["history"]!.AsArray().Select(h => (string?)h!["detail"]));
        var times = read["history"]!.AsArray().Select(h => (DateTimeOffset)h!["at"]!).ToList();
        Assert.Equal(times.Order(), times);
        var changes = await ChangesAsync((string)opened["id"]!, 4);
        Assert.Equal(["opened open", "assigned open", "solved solved", "reopened open"], changes.Select(c => $"{c.Change} {c.Status}"));
        Assert.NotNull(changes[2].SolvedAt);
        Assert.Null(changes[3].SolvedAt);
    }

    [Theory]
    [InlineData("", "reopen", """{"reason":"x"}""")]
    [InlineData("solve", "solve", """{"resolution":"again"}""")]
    [InlineData("solve", "assign", """{"assignee":"jane"}""")]
    public async Task What_the_state_forbids_is_a_conflict_and_changes_nothing(string before, string action, string body)
    {
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        if (before.Length > 0)
        {
            await _api.PostAsync($"{path}/{before}", """{"resolution":"Done"}""", Ct);
        }

        var at = (await _api.CallAsync(path, Ct)).ETag;
        var answer = await _api.PostAsync($"{path}/{action}", body, Ct);
        Assert.Equal((HttpStatusCode.Conflict, "conflict"), (answer.Status, answer.Code));
        Assert.Equal(at, (await _api.CallAsync(path, Ct)).ETag);
    }

    [Theory]
    [InlineData("messages", "{}", "/body required,/direction required")]
    [InlineData("messages", """{"direction":"sideways","body":"x"}""", "/direction wrong_type")]
    [InlineData("assign", """{"assignee":"a\nb"}""", "/assignee bad_text")]
    [InlineData("solve", """{"resolution":""}""", "/resolution required")]
    [InlineData("reopen", "{}", "/reason required")]
    public async Task An_action_says_what_it_lacks(string action, string body, string errors)
    {
        var answer = await _api.PostAsync($"/v1/cases/{(await OpenAsync())["id"]}/{action}", body, Ct);
        Assert.Equal(errors.Split(','), answer.Errors.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_patch_changes_what_it_names_and_is_in_the_history()
    {
        var opened = await OpenAsync("question");
        var path = $"/v1/cases/{opened["id"]}";
        Assert.Equal(HttpStatusCode.PreconditionRequired, (await _api.PatchAsync(path, """{"queue":"returns"}""", null, Ct)).Status);
        Assert.Equal("\"1\"", (await _api.PatchAsync(path, """{"queue":"general"}""", "\"1\"", Ct)).ETag);
        var patched = await _api.PatchAsync(path, """{"type":"complaint","queue":"returns","description":null}""", "\"1\"", Ct);
        Assert.Equal(("complaint", "returns", "normal", "\"2\""), ((string?)patched["type"], (string?)patched["queue"], (string?)patched["priority"], patched.ETag));
        Assert.Equal(HttpStatusCode.PreconditionFailed, (await _api.PatchAsync(path, """{"queue":"late"}""", "\"1\"", Ct)).Status);
        Assert.Equal(["/customer_id unknown_field"], (await _api.PatchAsync(path, """{"customer_id":"cus_1"}""", "\"2\"", Ct)).Errors);
        Assert.Equal(["/subject required"], (await _api.PatchAsync(path, """{"subject":null}""", "\"2\"", Ct)).Errors);
        Assert.Equal("type, queue", (string?)(await _api.CallAsync(path, Ct))["history"]![1]!["detail"]);
        Assert.Equal(["opened", "changed"], (await ChangesAsync((string)opened["id"]!, 2)).Select(c => c.Change));
    }

    [Fact]
    public async Task Of_thirty_replies_at_once_none_is_lost()
    {
        var opened = await OpenAsync();
        var path = $"/v1/cases/{opened["id"]}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(i =>
            _api.PostAsync($"{path}/messages", $$"""{"direction":"{{(i % 2 == 0 ? "inbound" : "outbound")}}","body":"{{i}}"}""", Ct)));
        Assert.All(answers, a => Assert.Equal(HttpStatusCode.Created, a.Status));
        var read = await _api.CallAsync(path, Ct);
        Assert.Equal(30, read["messages"]!.AsArray().Count);
        Assert.Equal("\"31\"", read.ETag);
        Assert.Equal(Enumerable.Range(1, 31), read["history"]!.AsArray().Select(h => (int)h!["version"]!));
        Assert.Equal(Enumerable.Range(1, 31).Select(v => (long)v), (await ChangesAsync((string)opened["id"]!, 31)).Select(c => c.Version).Order());
    }

    [Fact]
    public async Task A_reply_that_crosses_a_solve_is_kept_and_leaves_the_case_open()
    {
        for (var round = 0; round < 15; round++)
        {
            var path = $"/v1/cases/{(await OpenAsync())["id"]}";
            var answers = await Task.WhenAll(
                _api.PostAsync($"{path}/messages", """{"direction":"inbound","body":"One more thing"}""", Ct),
                _api.PostAsync($"{path}/solve", """{"resolution":"Done"}""", Ct));
            Assert.Equal((HttpStatusCode.Created, HttpStatusCode.OK), (answers[0].Status, answers[1].Status));
            var read = await _api.CallAsync(path, Ct);
            Assert.Single(read["messages"]!.AsArray());
            var last = read["history"]!.AsArray().Select(h => (string)h!["change"]!).ToList();
            // Whichever came second saw the first.
            Assert.Equal(last[1] == "solved" ? "open" : "solved", (string?)read["status"]);
            Assert.Equal(last[1] == "solved" ? ["opened", "solved", "replied", "reopened"] : ["opened", "replied", "solved"], last);
        }
    }

    [Fact]
    public async Task Of_ten_solves_at_once_one_succeeds()
    {
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => _api.PostAsync($"{path}/solve", """{"resolution":"Done"}""", Ct)));
        Assert.Single(answers, a => a.Status == HttpStatusCode.OK);
        Assert.Equal(9, answers.Count(a => a.Code == "conflict"));
    }

    [Fact]
    public async Task Ten_replies_under_one_idempotency_key_are_one()
    {
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        var key = Guid.NewGuid().ToString();
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ =>
            _api.CallAsync(HttpMethod.Post, $"{path}/messages", """{"direction":"inbound","body":"Hello"}""", [("Idempotency-Key", key)], Ct)));
        Assert.Single(answers.Select(a => a.ToString()).Distinct());
        Assert.Single((await _api.CallAsync(path, Ct))["messages"]!.AsArray());
    }

    [Fact]
    public async Task An_upsert_replaces_what_is_written_and_leaves_what_happened()
    {
        var customer = await fixture.CustomerAsync();
        var path = $"/v1/cases/by-external-id/helpdesk/{Guid.NewGuid():n}";
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => _api.PutAsync(path, Body(customer, "complaint"), Ct)));
        var created = Assert.Single(answers, a => a.Status == HttpStatusCode.Created);
        Assert.Equal(19, answers.Count(a => (string?)a["result"] == "unchanged"));

        await _api.PostAsync($"/v1/cases/{created["id"]}/assign", """{"assignee":"jane"}""", Ct);
        var updated = await _api.PutAsync(path, Body(customer, "question"), Ct);
        Assert.Equal(("updated", "normal", "jane", 3), ((string?)updated["result"], (string?)updated["priority"], (string?)updated["assignee"], (int)updated["version"]!));
        Assert.Equal(["opened open key_test 1", "assigned open key_test 2", "changed open key_test 3"], History(await _api.CallAsync(path, Ct)));
        Assert.Equal(["opened", "assigned", "changed"], (await ChangesAsync((string)created["id"]!, 3)).Select(c => c.Change));
    }

    [Fact]
    public async Task Cases_are_listed_by_customer_queue_status_type_and_assignee()
    {
        var customer = await fixture.CustomerAsync();
        var queue = $"q-{Guid.NewGuid():n}";
        var ids = new List<string>();
        foreach (var type in new[] { "question", "problem", "complaint", "complaint", "question" })
        {
            ids.Add((string)(await _api.PostAsync("/v1/cases", Body(customer, type, queue), Ct))["id"]!);
        }

        await _api.PostAsync($"/v1/cases/{ids[0]}/assign", """{"assignee":"jane"}""", Ct);
        await _api.PostAsync($"/v1/cases/{ids[1]}/messages", """{"direction":"outbound","body":"?"}""", Ct);
        await _api.PostAsync($"/v1/cases/{ids[2]}/solve", """{"resolution":"!"}""", Ct);

        Assert.Equal([4, 3, 2, 1, 0], await ListAsync($"customer_id={customer}"));
        Assert.Equal([4, 3, 2, 1, 0], await ListAsync($"queue={queue}"));
        Assert.Equal([4, 3, 0], await ListAsync($"queue={queue}&status=open"));
        Assert.Equal([1], await ListAsync($"queue={queue}&status=waiting"));
        Assert.Equal([3, 2], await ListAsync($"customer_id={customer}&type=complaint"));
        Assert.Equal([3], await ListAsync($"queue={queue}&type=complaint&status=open"));
        Assert.Equal([0], await ListAsync($"queue={queue}&assignee=jane"));
        Assert.Equal([3, 2], await ListAsync($"queue={queue}&priority=high"));

        var first = await _api.CallAsync($"/v1/cases?queue={queue}&limit=2", Ct);
        Assert.True((bool)first["has_more"]!);
        Assert.Equal([2, 1], await ListAsync($"queue={queue}&limit=2&cursor={first["next_cursor"]}"));

        async Task<IEnumerable<int>> ListAsync(string query) =>
            [.. (await _api.CallAsync($"/v1/cases?{query}", Ct)).Data.Select(c => ids.IndexOf((string)c["id"]!))];
    }

    [Fact]
    public async Task The_messages_of_a_long_case_are_paged()
    {
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        for (var i = 0; i < 103; i++)
        {
            await _api.PostAsync($"{path}/messages", $$"""{"direction":"inbound","body":"{{i}}"}""", Ct);
        }

        var read = await _api.CallAsync(path, Ct);
        Assert.True((bool)read["has_more_messages"]!);
        Assert.Equal(Enumerable.Range(3, 100).Select(i => $"inbound {i}"), Messages(read));
        var older = await _api.CallAsync($"{path}/messages?starting_after={read["messages"]![0]!["id"]}", Ct);
        Assert.Equal(["2", "1", "0"], older.Data.Select(m => (string)m["body"]!));
        Assert.Equal("not_found", (await _api.CallAsync($"/v1/cases/{Ids.Case.Format(Guid.CreateVersion7())}/messages", Ct)).Code);
    }

    [Theory]
    [InlineData("customer_id=4711", "invalid_parameter")]
    [InlineData("status=closed", "invalid_parameter")]
    [InlineData("type=compliment", "invalid_parameter")]
    [InlineData("limit=0", "invalid_parameter")]
    [InlineData("subject=x", "unknown_parameter")]
    public async Task A_query_that_cannot_be_answered_is_refused(string query, string code)
    {
        var answer = await _api.CallAsync($"/v1/cases?{query}", Ct);
        Assert.Equal((HttpStatusCode.BadRequest, code), (answer.Status, answer.Code));
    }

    [Fact]
    public async Task Reading_and_writing_each_need_their_scope()
    {
        using var reader = fixture.CreateClient("support", Scopes.CasesRead);
        using var writer = fixture.CreateClient("support", Scopes.CasesWrite);
        var path = $"/v1/cases/{(await OpenAsync())["id"]}";
        Assert.Equal("insufficient_scope", (await reader.PostAsync($"{path}/solve", """{"resolution":"x"}""", Ct)).Code);
        Assert.Equal("insufficient_scope", (await writer.CallAsync(path, Ct)).Code);
        Assert.Equal(HttpStatusCode.OK, (await reader.CallAsync(path, Ct)).Status);
        Assert.Equal(HttpStatusCode.OK, (await writer.PostAsync($"{path}/solve", """{"resolution":"x"}""", Ct)).Status);
    }

    [Theory]
    [InlineData("GET", "")]
    [InlineData("PATCH", "")]
    [InlineData("POST", "/messages")]
    [InlineData("POST", "/assign")]
    [InlineData("POST", "/solve")]
    [InlineData("POST", "/reopen")]
    public async Task An_unknown_case_is_not_found(string method, string action)
    {
        var body = action switch
        {
            "/messages" => """{"direction":"inbound","body":"x"}""",
            "/assign" => """{"assignee":"x"}""",
            "/solve" => """{"resolution":"x"}""",
            "/reopen" => """{"reason":"x"}""",
            _ => method == "PATCH" ? "{}" : null,
        };
        foreach (var id in new[] { "cas_1", Ids.Case.Format(Guid.CreateVersion7()) })
        {
            var answer = await _api.CallAsync(new HttpMethod(method), $"/v1/cases/{id}{action}", body, [("If-Match", "\"1\"")], Ct);
            Assert.Equal((HttpStatusCode.NotFound, "not_found"), (answer.Status, answer.Code));
        }
    }

    private static IEnumerable<string> Messages(JsonAnswer read) => read["messages"]!.AsArray().Select(m => $"{m!["direction"]} {m["body"]}");

    private static IEnumerable<string> History(JsonAnswer read) => read["history"]!.AsArray().Select(h => $"{h!["change"]} {h["status"]} {h["actor"]} {h["version"]}");

    private static string Body(string customer, string type = "question", string? queue = null) =>
        $$"""{"customer_id":"{{customer}}","type":"{{type}}","subject":"Where is it?"{{(queue is null ? "" : $",\"queue\":\"{queue}\"")}}}""";

    private async Task<JsonAnswer> OpenAsync(string type = "question")
    {
        var opened = await _api.PostAsync("/v1/cases", Body(await fixture.CustomerAsync(), type), Ct);
        Assert.Equal(HttpStatusCode.Created, opened.Status);
        return opened;
    }

    private async Task<IReadOnlyList<Crm.Contracts.Events.CaseChanged>> ChangesAsync(string id, int count) =>
        [.. (await Eventually.GetAsync(() => Task.FromResult(fixture.Changes.Where(c => c.Id == id).ToList()), c => c.Count == count, ct: Ct)).OrderBy(c => c.Version)];
}
