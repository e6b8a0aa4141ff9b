using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.PersonalData.V1;
using Crm.Hosting.Auth;
using Crm.Testing;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Npgsql;

namespace Contacts.Tests;

/// <summary>Customers with whom nobody has anything to do are erased by policies, with a report; the other services are stand-ins.</summary>
public sealed class RetentionTests(ContactsFixture fixture) : ContactsTest(fixture), IAsyncDisposable
{
    private const string Policies = "/v1/retention-policies";
    private const string Runs = "/v1/retention-runs";

    /// <summary>No other test's customers are as old.</summary>
    private const int Days = 7000;

    private static readonly DateTimeOffset LongAgo = new(2001, 2, 3, 4, 5, 6, TimeSpan.Zero);

    /// <summary>The next test is alone with its old customers and its policy, whatever became of this one.</summary>
    public async ValueTask DisposeAsync()
    {
        Fixture.Peers.FindUses = (_, _) => Task.FromResult(new Uses());
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var update = database.CreateCommand("""
            UPDATE retention_policies SET active = false, version = version + 1 WHERE active;
            UPDATE customers SET updated_at = now() WHERE updated_at < now() - interval '7000 days';
            """);
        await update.ExecuteNonQueryAsync();
    }

    [Fact]
    public async Task A_preview_says_who_would_be_erased_and_who_is_kept_for_what_and_erases_nobody()
    {
        var (due, held, consented, open, used) = (await OldAsync(), await OldAsync(), await OldAsync(), await OldAsync(), await OldAsync());
        await OkAsync(HttpMethod.Post, $"/v1/customers/{held}/legal-holds", """{"reason":"Dispute"}""");
        await OkAsync(HttpMethod.Post, $"/v1/customers/{consented}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""");
        await AgeAsync(held);
        await AgeAsync(consented);
        var buyer = (string)(await CreateAsync($$$"""{"kind":"person","family_name":"{{{Unique()}}}","lifecycle":"former","source":{"type":"enquiry"}}"""))["id"]!;
        await AgeAsync(buyer);
        Answers((service, customer) => (service, customer) switch
        {
            ("support", _) when customer == open => (LongAgo.AddDays(1), ["open_case"]),
            ("billing-sync", _) when customer == open => (null, ["open_invoice"]),
            ("interactions", _) when customer == used => (DateTimeOffset.UtcNow.AddDays(-1), []),
            _ => null,
        });

        var policy = await PolicyAsync();
        var run = await RunAsync(policy, "{}");

        Assert.True((bool)run["preview"]!);
        var outcomes = await OutcomesAsync(run);
        Assert.Equal("due ", outcomes[due]);
        Assert.DoesNotContain(buyer, outcomes.Keys);
        Assert.Equal("kept legal_hold", outcomes[held]);
        Assert.Equal("kept open_case open_invoice", outcomes.GetValueOrDefault(open)?.Replace("open_invoice open_case", "open_case open_invoice", StringComparison.Ordinal));
        Assert.DoesNotContain(used, outcomes.Keys);
        Assert.DoesNotContain(consented, outcomes.Keys);
        Assert.Equal((1, 2, 2, 0), ((int)run["due"]!, (int)run["kept"]!, (int)run["used"]!, (int)run["erased"]!));
        Assert.Equal(5, (int)run["examined"]!);
        Assert.Equal("""{"legal_hold":1,"open_case":1,"open_invoice":1}""", Sorted(run["kept_for"]!));
        var result = (await GetAsync($"{Runs}/{run["id"]}/results?outcome=kept&limit=1"))["data"]!.AsArray().Single()!;
        Assert.Null(result["erasure_id"]);
        foreach (var customer in new[] { due, held, consented, open, used })
        {
            await GetAsync($"/v1/customers/{customer}");
        }
    }

    [Fact]
    public async Task An_active_policy_erases_the_longest_unused_first_up_to_its_limit_and_the_next_run_the_others()
    {
        var customers = new List<string>();
        for (var i = 0; i < 4; i++)
        {
            customers.Add(await OldAsync(i));
        }

        var policy = await PolicyAsync("""{"erase_at_most":3}""");
        var active = await PatchAsync(policy, """{"active":true}""");
        Assert.NotNull(active["next_run_at"]);
        var run = await EndOfRunAsync((await Eventually.GetAsync(() => GetAsync($"{Runs}?policy_id={policy["id"]}"), l => l["data"]!.AsArray().Count == 1, ct: Ct))["data"]![0]!);

        Assert.Equal((3, true, false), ((int)run["erased"]!, (bool)run["limit_reached"]!, (bool)run["preview"]!));
        Assert.Equal(customers.Take(3).Order(StringComparer.Ordinal), (await OutcomesAsync(run)).Keys.Order(StringComparer.Ordinal));
        foreach (var customer in customers.Take(3))
        {
            var (response, body) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer}");
            AssertProblem(response, body, 410, "erased");
            var erasure = (await GetAsync($"/v1/erasures?customer_id={customer}"))["data"]!.AsArray().Single()!;
            Assert.StartsWith($"Retention policy {policy["name"]} ({run["id"]}): not used since ", (string?)erasure["reason"], StringComparison.Ordinal);
            Assert.Contains((await GetAsync($"{Runs}/{run["id"]}/results"))["data"]!.AsArray(), r => (string?)r!["erasure_id"] == (string?)erasure["id"] && (string?)r["customer_id"] == customer);
        }

        var next = await RunAsync(policy, """{"preview":false}""");
        Assert.Equal((1, false), ((int)next["erased"]!, (bool)next["limit_reached"]!));
        Assert.Equal(customers[3], Assert.Single(await OutcomesAsync(next)).Key);
    }

    [Fact]
    public async Task Nobody_is_erased_while_a_service_does_not_say_whom_it_has_to_do_with_and_a_policy_that_is_made_inactive_stops_its_run()
    {
        var customer = await OldAsync();
        Answers((service, _) => service == "support" ? throw new RpcException(new Status(StatusCode.Unavailable, "Away.")) : null);
        var policy = await PolicyAsync("""{"active":true}""");

        var waiting = (await Eventually.GetAsync(() => GetAsync($"{Runs}?policy_id={policy["id"]}"), l => l["data"]!.AsArray() is [{ } run] && run["missing"]!.AsArray().Count > 0, ct: Ct))["data"]![0]!;
        Assert.Equal(["support"], waiting["missing"]!.AsArray().Select(m => (string?)m));
        Assert.Equal(("running", 0), ((string?)waiting["status"], (int)waiting["examined"]!));
        var (refused, conflict) = await SendAsync(HttpMethod.Post, $"{Policies}/{policy["id"]}/runs", "{}");
        AssertProblem(refused, conflict, 409, "conflict");
        Assert.Equal((string?)waiting["id"], (string?)conflict["existing_id"]);

        await PatchAsync(policy, """{"active":false}""");
        var stopped = await EndOfRunAsync(waiting, "stopped");
        Assert.Equal((0, 0), ((int)stopped["erased"]!, stopped["missing"]!.AsArray().Count));
        await GetAsync($"/v1/customers/{customer}");
    }

    [Fact]
    public async Task Other_terms_stop_the_run_that_has_the_old_ones()
    {
        var customer = await OldAsync();
        Answers((service, _) => service == "support" ? throw new RpcException(new Status(StatusCode.Unavailable, "Away.")) : null);
        var policy = await PolicyAsync("""{"active":true}""");
        var waiting = (await Eventually.GetAsync(() => GetAsync($"{Runs}?policy_id={policy["id"]}"), l => l["data"]!.AsArray() is [{ } run] && run["missing"]!.AsArray().Count > 0, ct: Ct))["data"]![0]!;
        await PatchAsync(policy, """{"unused_for_days":36500}""");
        Answers((_, _) => null);
        Assert.Equal(0, (int)(await EndOfRunAsync(waiting, "stopped"))["erased"]!);
        await GetAsync($"/v1/customers/{customer}");
    }

    [Fact]
    public async Task Who_consents_or_is_used_between_the_first_question_and_the_erasure_stays()
    {
        var (before, consents, calls) = (await OldAsync(0), await OldAsync(1), await OldAsync(2));
        var related = await OldAsync(3);
        var asked = 0;
        Fixture.Peers.FindUses = async (service, ids) =>
        {
            // The second question about one is that of its own erasure.
            if (service == "support" && ids.Contains(consents) && Interlocked.Increment(ref asked) == 2)
            {
                await OkAsync(HttpMethod.Post, $"/v1/customers/{consents}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""");
            }

            return asked > 1 ? Uses(ids, id => id == calls ? (DateTimeOffset.UtcNow, []) : null) : new();
        };
        var firm = (string)(await CreateAsync($$$"""{"kind":"organization","name":"Firm {{{Unique()}}}","source":{"type":"enquiry"}}"""))["id"]!;
        await OkAsync(HttpMethod.Post, $"/v1/customers/{related}/relationships", $$"""{"type":"role","to_id":"{{firm}}","role":"chief"}""");
        var policy = await PolicyAsync("""{"active":true}""");
        var run = await EndOfRunAsync((await Eventually.GetAsync(() => GetAsync($"{Runs}?policy_id={policy["id"]}"), l => l["data"]!.AsArray().Count == 1, ct: Ct))["data"]![0]!);

        Assert.Equal(
            new Dictionary<string, string> { [before] = "erased ", [consents] = "kept changed_meanwhile" }.OrderBy(o => o.Key, StringComparer.Ordinal),
            (await OutcomesAsync(run)).OrderBy(o => o.Key, StringComparer.Ordinal));
        Assert.Equal(2, (int)run["used"]!);
    }

    [Theory]
    [InlineData("""{"name":null}""", "/name", "required")]
    [InlineData("""{"lifecycles":[]}""", "/lifecycles", "too_few")]
    [InlineData("""{"lifecycles":["dead"]}""", "/lifecycles/0", null)]
    [InlineData("""{"unused_for_days":29}""", "/unused_for_days", "out_of_range")]
    [InlineData("""{"erase_at_most":0}""", "/erase_at_most", "out_of_range")]
    [InlineData("""{"colour":"red"}""", "/colour", null)]
    public async Task A_policy_that_says_nonsense_is_refused_with_the_field(string change, string pointer, string? code)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, Policies, With(change));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var error = body["errors"]!.AsArray().Single(e => ((string)e!["pointer"]!).StartsWith(pointer.Split("/0")[0], StringComparison.Ordinal))!;
        Assert.True(code is null || (string?)error["code"] == code, body.ToJsonString());
    }

    [Fact]
    public async Task A_policy_is_changed_with_its_version_only_and_erases_nobody_before_it_is_active()
    {
        var policy = await PolicyAsync();
        Assert.Equal((false, 1000, 1), ((bool)policy["active"]!, (int)policy["erase_at_most"]!, (int)policy["version"]!));
        Assert.Equal(["prospect", "enquiry"], policy["lifecycles"]!.AsArray().Select(l => (string?)l));
        var (missing, required) = await SendAsync(HttpMethod.Patch, $"{Policies}/{policy["id"]}", """{"active":true}""");
        AssertProblem(missing, required, 428, "precondition_required");
        var (old, stale) = await SendAsync(HttpMethod.Patch, $"{Policies}/{policy["id"]}", """{"active":true}""", ("If-Match", "\"7\""));
        AssertProblem(old, stale, 412, "stale_version");
        var (wrong, invalid) = await SendAsync(HttpMethod.Patch, $"{Policies}/{policy["id"]}", """{"unused_for_days":1}""", ("If-Match", "\"1\""));
        AssertProblem(wrong, invalid, 400, "validation_failed", "/unused_for_days");
        var (refused, inactive) = await SendAsync(HttpMethod.Post, $"{Policies}/{policy["id"]}/runs", """{"preview":false}""");
        AssertProblem(refused, inactive, 422, "unprocessable", "/preview");
        var (nobody, unknown) = await SendAsync(HttpMethod.Post, $"{Policies}/rtp_00000000000000000000000000/runs", "{}");
        AssertProblem(nobody, unknown, 404, "not_found");
        Assert.Equal(1, (int)(await GetAsync($"{Policies}/{policy["id"]}"))["version"]!);
        Assert.Empty((await GetAsync($"{Runs}?policy_id={policy["id"]}"))["data"]!.AsArray());
    }

    [Fact]
    public async Task It_takes_the_scope_and_somebody_who_is_bound_to_no_department()
    {
        using var other = As(new TokenSubject("key_other", [Scopes.ErasuresWrite, Scopes.CustomersWrite], [], []));
        var (response, body) = await SendAsync(other, HttpMethod.Post, Policies, With("{}"));
        AssertProblem(response, body, 403, "insufficient_scope");
        using var bound = As(new TokenSubject("key_bound", [Scopes.RetentionRead, Scopes.RetentionWrite], ["manager"], ["sales"]));
        (response, body) = await SendAsync(bound, HttpMethod.Post, Policies, With("{}"));
        AssertProblem(response, body, 403, "department_forbidden");
    }

    /// <summary>A customer whom nobody has touched for longer than <see cref="Days"/>; a later one by its number.</summary>
    private async Task<string> OldAsync(int number = 0)
    {
        var customer = (string)(await CreatePersonAsync(family: Unique()))["id"]!;
        await AgeAsync(customer, number: number);
        return customer;
    }

    private async Task AgeAsync(string customer, int number = 0)
    {
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var update = database.CreateCommand("UPDATE customers SET updated_at = now() - make_interval(days => 8000, secs => -$2) WHERE id = $1");
        update.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(customer) });
        update.Parameters.Add(new NpgsqlParameter<double> { TypedValue = number });
        Assert.Equal(1, await update.ExecuteNonQueryAsync(Ct));
    }

    /// <summary>What the stand-ins say of a customer.</summary>
    private void Answers(Func<string, string, (DateTimeOffset? At, string[] Open)?> answer) =>
        Fixture.Peers.FindUses = (service, ids) => Task.FromResult(Uses(ids, id => answer(service, id)));

    private static Uses Uses(IEnumerable<string> ids, Func<string, (DateTimeOffset? At, string[] Open)?> answer)
    {
        var uses = new Uses();
        foreach (var id in ids)
        {
            if (answer(id) is (var at, var open))
            {
                var use = new CustomerUse { CustomerId = id, LastUsedAt = at is { } last ? Timestamp.FromDateTimeOffset(last) : null };
                use.Open.AddRange(open);
                uses.Customers.Add(use);
            }
        }

        return uses;
    }

    private static string With(string change)
    {
        var policy = JsonNode.Parse($$"""{"name":"Old prospects {{Unique()}}","lifecycles":["enquiry","prospect"],"unused_for_days":{{Days}}}""")!.AsObject();
        foreach (var (name, value) in JsonNode.Parse(change)!.AsObject())
        {
            policy[name] = value?.DeepClone();
        }

        return policy.ToJsonString();
    }

    private Task<JsonNode> PolicyAsync(string change = "{}") => OkAsync(HttpMethod.Post, Policies, With(change));

    private Task<JsonNode> PatchAsync(JsonNode policy, string change) => OkAsync(HttpMethod.Patch, $"{Policies}/{policy["id"]}", change, ("If-Match", $"\"{policy["version"]}\""));

    private async Task<JsonNode> RunAsync(JsonNode policy, string json) => await EndOfRunAsync(await OkAsync(HttpMethod.Post, $"{Policies}/{policy["id"]}/runs", json));

    private Task<JsonNode> EndOfRunAsync(JsonNode run, string status = "completed") =>
        Eventually.GetAsync(() => GetAsync($"{Runs}/{run["id"]}"), r => (string?)r["status"] == status, TimeSpan.FromSeconds(60), Ct);

    /// <summary>By customer what became of it and why.</summary>
    private async Task<Dictionary<string, string>> OutcomesAsync(JsonNode run) => (await GetAsync($"{Runs}/{run["id"]}/results?limit=100"))["data"]!.AsArray()
        .ToDictionary(r => (string)r!["customer_id"]!, r => $"{r!["outcome"]} {string.Join(' ', r["reasons"]!.AsArray())}");

    private static string Sorted(JsonNode counts) => new JsonObject(counts.AsObject().OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => KeyValuePair.Create(c.Key, c.Value?.DeepClone()))).ToJsonString();

    private Task<JsonNode> GetAsync(string path) => OkAsync(HttpMethod.Get, path);

    private async Task<JsonNode> OkAsync(HttpMethod method, string path, string? json = null, params (string, string)[] headers)
    {
        var (response, body) = await SendAsync(method, path, json, headers);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }
}
