using System.Net;
using System.Text.Json.Nodes;

namespace Contacts.Tests;

public sealed class ConsentTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task The_latest_statement_holds_and_the_whole_history_stays()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","legal_basis":"consent","source":"web_form","wording":"v1","at":"2026-01-01T00:00:00Z"}""");
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call","at":"2026-02-01T00:00:00Z"}""");
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","source":"late paper form","at":"2025-12-01T00:00:00Z"}""");
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        var current = Assert.Single(consents["current"]!.AsArray());
        Assert.Equal("withdrawn", (string?)current!["state"]);
        Assert.Equal(3, consents["history"]!.AsArray().Count);
    }

    [Fact]
    public async Task A_withdrawal_of_now_ends_a_consent_that_dates_itself_ahead()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        var ahead = DateTimeOffset.UtcNow.AddMinutes(4).ToString("O");
        await SendAsync(HttpMethod.Post, path, $$"""{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","at":"{{ahead}}"}""");
        var (said, _) = await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call"}""");
        Assert.Equal(HttpStatusCode.Created, said.StatusCode);
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        Assert.Equal("withdrawn", (string?)Assert.Single(consents["current"]!.AsArray())!["state"]);
    }

    [Theory]
    [InlineData("""{"channel":"pigeon","purpose":"marketing","state":"granted","source":"x"}""", "/channel")]
    [InlineData("""{"channel":"email","purpose":"Marketing!","state":"granted","source":"x"}""", "/purpose")]
    [InlineData("""{"channel":"email","purpose":"marketing","source":"x"}""", "/state")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted"}""", "/source")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted","source":"x","at":"2999-01-01T00:00:00Z"}""", "/at")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted","source":"x","at":"2026-01-01"}""", "/at")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"paused","source":"x"}""", "/paused_until")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted","source":"x","paused_until":"2027-01-01T00:00:00Z"}""", "/paused_until")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"paused","source":"x","paused_until":"2999-01-01T00:00:00Z"}""", "/paused_until")]
    public async Task A_bad_statement_is_refused_with_its_place(string body, string pointer)
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        var (response, problem) = await SendAsync(HttpMethod.Post, path, body);
        AssertProblem(response, problem, 400, "validation_failed", pointer);
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        Assert.Empty(consents["history"]!.AsArray());
    }

    [Fact]
    public async Task A_pause_holds_until_its_day_beside_what_is_granted_and_is_over_by_itself()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        async Task<(string? State, string? PausedUntil)> SayAsync(string state, DateTimeOffset? until = null, string? at = null)
        {
            var (said, statement) = await SendAsync(HttpMethod.Post, path, new JsonObject { ["channel"] = "email", ["purpose"] = "marketing", ["state"] = state, ["source"] = "call", ["paused_until"] = until?.ToString("O"), ["at"] = at }.ToJsonString());
            Assert.True(said.IsSuccessStatusCode, statement.ToJsonString());
            var current = (await SendAsync(HttpMethod.Get, path)).Body["current"]!.AsArray().SingleOrDefault();
            return ((string?)current?["state"], (string?)current?["paused_until"]);
        }

        // Nobody agrees to anything by a pause, and nobody ends one by agreeing.
        var (soon, later) = (DateTimeOffset.UtcNow.AddDays(1), DateTimeOffset.UtcNow.AddDays(30));
        Assert.Equal((null, null), await SayAsync("paused", later));
        var granted = await SayAsync("granted", at: "2026-01-01T00:00:00Z");
        Assert.Equal(("granted", later.UtcDateTime), (granted.State, DateTimeOffset.Parse(granted.PausedUntil!, System.Globalization.CultureInfo.InvariantCulture).UtcDateTime.AddTicks(later.Ticks % 10)));
        Assert.Equal(granted, await SayAsync("paused", soon, at: "2026-01-02T00:00:00Z"));
        Assert.Equal("withdrawn", (await SayAsync("withdrawn")).State);
        Assert.Equal("granted", (await SayAsync("granted")).State);
        Assert.Equal(("granted", null), await SayAsync("paused", DateTimeOffset.UtcNow));
        Assert.NotNull((await SayAsync("paused", DateTimeOffset.UtcNow.AddSeconds(6))).PausedUntil);
        await Crm.Testing.Eventually.GetAsync(
            async () => (await SendAsync(HttpMethod.Get, path)).Body["current"]![0]!, c => c["paused_until"] is null && (string?)c["state"] == "granted", ct: Ct);
        var history = (await SendAsync(HttpMethod.Get, path)).Body["history"]!.AsArray();
        Assert.Equal(["paused", "paused", "granted", "withdrawn", "paused", "granted", "paused"], history.Select(h => (string?)h!["state"]));
        Assert.NotNull(history[0]!["paused_until"]);
    }

    [Fact]
    public async Task A_statement_keeps_where_it_was_said_and_which_words_were_seen()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        var (created, said) = await SendAsync(HttpMethod.Post, path,
            """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","wording":"Yes","wording_version":"newsletter-3","ip":"2001:db8::7"}""");
        Assert.Equal(201, (int)created.StatusCode);
        Assert.Equal(("newsletter-3", "2001:db8::7", "key_test"), ((string?)said["wording_version"], (string?)said["ip"], (string?)said["actor"]));
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        Assert.True(JsonNode.DeepEquals(said, consents["history"]![0]), consents.ToJsonString());
        var (response, problem) = await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","ip":"here"}""");
        AssertProblem(response, problem, 400, "validation_failed", "/ip");
    }

    [Fact]
    public async Task The_ledger_can_be_neither_changed_nor_shortened_but_by_an_erasure()
    {
        var id = (string)(await CreatePersonAsync())["id"]!;
        await SendAsync(HttpMethod.Post, $"/v1/customers/{id}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"x"}""");
        Assert.True(Crm.Contracts.Ids.Customer.TryParse(id, out var key));
        await using var database = await Fixture.DatabaseAsync("contacts");
        foreach (var sql in (string[])["UPDATE consents SET state = 'denied'", "UPDATE consents SET at = now(), customer_id = customer_id", "DELETE FROM consents", "TRUNCATE consents CASCADE"])
        {
            await using var forbidden = database.CreateCommand(sql.StartsWith("TRUNCATE", StringComparison.Ordinal) ? sql : $"{sql} WHERE customer_id = '{key}'");
            var refused = await Assert.ThrowsAsync<Npgsql.PostgresException>(() => forbidden.ExecuteNonQueryAsync(Ct));
            Assert.Contains("append-only", refused.MessageText, StringComparison.Ordinal);
        }

        await using var connection = await database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using var erase = new Npgsql.NpgsqlCommand($"SET LOCAL crm.erasing = 'on'; DELETE FROM consents WHERE customer_id = '{key}'", connection, transaction);
        Assert.Equal(1, await erase.ExecuteNonQueryAsync(Ct));
        await transaction.CommitAsync(Ct);
        await SendAsync(HttpMethod.Post, $"/v1/customers/{id}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"x"}""");
        await using var afterwards = new Npgsql.NpgsqlCommand($"DELETE FROM consents WHERE customer_id = '{key}'", connection);
        await Assert.ThrowsAsync<Npgsql.PostgresException>(() => afterwards.ExecuteNonQueryAsync(Ct));
    }

    [Fact]
    public async Task What_holds_is_what_the_ledger_gives_when_it_is_read_from_the_beginning()
    {
        var random = new Random(7);
        string[] channels = ["email", "phone"], purposes = ["marketing", "surveys"], states = ["granted", "denied", "withdrawn", "pending"];
        var customers = await Task.WhenAll(Enumerable.Range(0, 5).Select(async _ => (string)(await CreatePersonAsync())["id"]!));
        // Few different times, so that statements of one time are there too; several at once.
        var statements = Enumerable.Range(0, 200).Select(_ => (
            Customer: customers[random.Next(5)],
            Body: $$$"""{"channel":"{{{channels[random.Next(2)]}}}","purpose":"{{{purposes[random.Next(2)]}}}","state":"{{{states[random.Next(4)]}}}","source":"x","at":"2026-01-{{{1 + random.Next(9):00}}}T00:00:00Z"}"""));
        await Parallel.ForEachAsync(statements, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Ct }, async (s, _) =>
            Assert.Equal(201, (int)(await SendAsync(HttpMethod.Post, $"/v1/customers/{s.Customer}/consents", s.Body)).Response.StatusCode));

        await using var database = await Fixture.DatabaseAsync("contacts");
        var keys = customers.Select(c => Crm.Contracts.Ids.Customer.TryParse(c, out var key) ? key : Guid.Empty).ToArray();
        await using var count = database.CreateCommand("""
            SELECT (SELECT count(*) FROM consent_states WHERE customer_id = ANY ($1)),
                   (SELECT count(*) FROM consent_states s JOIN consent_ledger_states l USING (customer_id, channel, purpose, state, at) WHERE s.customer_id = ANY ($1)),
                   (SELECT count(*) FROM consent_ledger_states WHERE customer_id = ANY ($1))
            """);
        count.Parameters.AddWithValue(keys);
        await using var reader = await count.ExecuteReaderAsync(Ct);
        await reader.ReadAsync(Ct);
        Assert.Equal((20, 20, 20), (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2)));
    }

    [Fact]
    public async Task A_long_history_is_paged_and_each_statement_is_seen_once()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        for (var i = 0; i < 12; i++)
        {
            await SendAsync(HttpMethod.Post, path, $$$"""{"channel":"email","purpose":"p{{{i}}}","state":"granted","source":"x"}""");
        }

        var seen = new List<string>();
        for (var cursor = ""; cursor is not null;)
        {
            var (_, page) = await SendAsync(HttpMethod.Get, $"{path}?limit=5{cursor}");
            Assert.Equal(12, page["current"]!.AsArray().Count);
            seen.AddRange(page["history"]!.AsArray().Select(h => (string)h!["purpose"]!));
            cursor = (bool)page["has_more"]! ? $"&cursor={page["next_cursor"]}" : null;
        }

        Assert.Equal(Enumerable.Range(0, 12).Select(i => $"p{i}").Order(), seen.Order());
    }

    [Fact]
    public async Task A_person_is_asked_for_a_confirmation_only_where_that_makes_sense_and_not_too_often()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        const string Ask = """{"channel":"email","purpose":"marketing","state":"pending","source":"web_form","double_opt_in":true}""";
        foreach (var wrong in (string[])[Ask.Replace("pending", "granted", StringComparison.Ordinal), Ask.Replace("email", "sms", StringComparison.Ordinal)])
        {
            var (refused, why) = await SendAsync(HttpMethod.Post, path, wrong);
            AssertProblem(refused, why, 400, "validation_failed", "/double_opt_in");
        }

        Assert.Equal(201, (int)(await SendAsync(HttpMethod.Post, path, Ask)).Response.StatusCode);
        var (again, often) = await SendAsync(HttpMethod.Post, path, Ask);
        AssertProblem(again, often, 429, "rate_limited", "/double_opt_in");
        Assert.InRange(again.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        Assert.Equal(201, (int)(await SendAsync(HttpMethod.Post, path, Ask.Replace("marketing", "surveys", StringComparison.Ordinal))).Response.StatusCode);

        var without = await CreateAsync("""{"kind":"person","given_name":"Nomail","source":{"type":"enquiry"}}""");
        var (unreachable, nomail) = await SendAsync(HttpMethod.Post, $"/v1/customers/{without["id"]}/consents", Ask);
        AssertProblem(unreachable, nomail, 422, "unprocessable", "/double_opt_in");

        var granted = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        await SendAsync(HttpMethod.Post, granted, """{"channel":"email","purpose":"marketing","state":"granted","source":"x"}""");
        var (taken, conflict) = await SendAsync(HttpMethod.Post, granted, Ask);
        AssertProblem(taken, conflict, 409, "conflict", "/state");
    }

    [Fact]
    public async Task A_mailbox_gets_ten_mails_a_day_that_ask_for_a_confirmation_whoever_is_asked_for_whatever()
    {
        var email = NewEmail();
        var ada = await CreatePersonAsync(email: email);
        var (made, augusta) = await SendAsync(
            HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=they+share+a+mailbox",
            $$$"""{"kind":"person","given_name":"Augusta","emails":[{"address":"{{{email.ToUpperInvariant()}}}"}],"source":{"type":"enquiry"}}""");
        Assert.True(made.IsSuccessStatusCode, augusta.ToJsonString());
        var answers = await Task.WhenAll(Enumerable.Range(0, 14).Select(i => AskAsync(i % 2 == 0 ? ada : augusta, $"p{i}")));
        Assert.Equal((10, 4), (answers.Count(a => (int)a.Response.StatusCode == 201), answers.Count(a => (int)a.Response.StatusCode == 429)));

        var (refused, often) = await AskAsync(ada, "another");
        AssertProblem(refused, often, 429, "rate_limited", "/double_opt_in");
        Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 86_000, 86_400);
        // With an address of her own she is asked there; what went to the other one went there.
        var own = await SendAsync(HttpMethod.Patch, $"/v1/customers/{augusta["id"]}", $$"""{"emails":[{"address":"{{NewEmail()}}"}]}""", ("If-Match", "*"));
        Assert.True(own.Response.IsSuccessStatusCode, own.Body.ToJsonString());
        Assert.Equal(201, (int)(await AskAsync(augusta, "another")).Response.StatusCode);
        var (still, full) = await AskAsync(ada, "another");
        AssertProblem(still, full, 429, "rate_limited", "/double_opt_in");

        Task<(HttpResponseMessage Response, JsonNode Body)> AskAsync(JsonNode customer, string purpose) => SendAsync(
            HttpMethod.Post, $"/v1/customers/{customer["id"]}/consents",
            $$"""{"channel":"email","purpose":"{{purpose}}","state":"pending","source":"web_form","double_opt_in":true}""");
    }
}
