using System.Net;
using Crm.Contracts;
using System.Text.Json.Nodes;
using Crm.Testing;

namespace Contacts.Tests;

public sealed class CreateCustomerTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_created_customer_reads_back_as_it_was_sent()
    {
        var email = $"{Unique()}@Example.COM";
        var (created, _) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""
            {"kind":"person","given_name":"Ada","family_name":"Byron","emails":[{"address":"{{{email}}}","type":"work","primary":true}],
             "addresses":[{"lines":["12 St James's Sq"],"city":"London","postal_code":"SW1Y 4JH","country":"GB"}],
             "birth_date":"1815-12-10","locale":"en-GB","time_zone":"Europe/London","lifecycle":"prospect","source":{"type":"enquiry"},
             "department":"sales","tier":"standard","attributes":{"newsletter_topic":"maths"}}
            """);
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        var (read, customer) = await SendAsync(HttpMethod.Get, created.Headers.Location!.ToString());
        Assert.Equal("\"1\"", read.Headers.ETag!.Tag);
        Assert.Equal("Ada Byron", (string?)customer["display_name"]);
        Assert.Equal(email.Replace("Example.COM", "example.com", StringComparison.Ordinal), (string?)customer["emails"]![0]!["address"]);
        Assert.Equal("1815-12-10", (string?)customer["birth_date"]);
        Assert.Equal("maths", (string?)customer["attributes"]!["newsletter_topic"]);
    }

    [Fact]
    public async Task Of_fifty_identical_creates_at_once_one_makes_a_row_and_the_others_name_it()
    {
        var body = $$$"""{"kind":"person","given_name":"Fifty","emails":[{"address":"{{{NewEmail()}}}"}],"source":{"type":"enquiry"}}""";
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ =>
            Eventually.GetAsync(() => SendAsync(HttpMethod.Post, "/v1/customers", body), a => a.Response.StatusCode != HttpStatusCode.ServiceUnavailable, ct: Ct)));
        var created = Assert.Single(answers, a => a.Response.StatusCode == HttpStatusCode.Created);
        Assert.All(answers.Where(a => a.Response.StatusCode != HttpStatusCode.Created), a =>
        {
            AssertProblem(a.Response, a.Body, 409, "duplicate_suspected", "/emails");
            Assert.Equal((string?)created.Body["id"], (string?)a.Body["candidates"]![0]!["customer_id"]);
        });
    }

    [Fact]
    public async Task A_duplicate_is_created_when_a_reason_is_given()
    {
        var email = NewEmail();
        await CreatePersonAsync("Father", "Smith", email);
        var same = $$$"""{"kind":"person","given_name":"Son","emails":[{"address":"{{{email.ToUpperInvariant()}}}"}],"source":{"type":"enquiry"}}""";
        var (refused, problem) = await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true", same);
        AssertProblem(refused, problem, 400, "invalid_parameter", "reason");
        var (forced, son) = await SendAsync(HttpMethod.Post, "/v1/customers?allow_duplicate=true&reason=they+share+a+mailbox", same);
        Assert.Equal(HttpStatusCode.Created, forced.StatusCode);
        // In the audit log, with who and why.
        Assert.True(Ids.Customer.TryParse((string?)son["id"], out var id));
        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var audited = database.CreateCommand("SELECT e.actor || ' ' || v.changes FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.record_type = 'duplicate_override' AND e.record_id = $1");
        audited.Parameters.AddWithValue(id);
        Assert.Matches("^key_test .*they share a mailbox", (string?)await audited.ExecuteScalarAsync(Ct));
    }

    [Fact]
    public async Task A_create_with_a_taken_external_id_names_the_record_that_has_it()
    {
        var id = Unique();
        var body = $$$"""{"kind":"organization","name":"Acme","external_ids":[{"system":"erp","id":"{{{id}}}"}],"source":{"type":"enquiry"}}""";
        var first = await CreateAsync(body);
        var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", body);
        AssertProblem(response, problem, 409, "already_exists", "/external_ids/0");
        Assert.Equal((string?)first["id"], (string?)problem["existing_id"]);
    }

    [Fact]
    public async Task Fifty_requests_under_one_idempotency_key_make_one_row_and_get_fifty_equal_answers()
    {
        var key = Unique();
        var body = $$$"""{"kind":"person","given_name":"Once","emails":[{"address":"{{{NewEmail()}}}"}],"source":{"type":"enquiry"}}""";
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => SendAsync(HttpMethod.Post, "/v1/customers", body, ("Idempotency-Key", key))));
        Assert.All(answers, a => Assert.Equal(HttpStatusCode.Created, a.Response.StatusCode));
        Assert.Single(answers.Select(a => a.Body.ToJsonString()).Distinct());
        Assert.Equal(49, answers.Count(a => a.Response.Headers.Contains("Idempotent-Replayed")));
        var (other, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", """{"kind":"person","given_name":"Other"}""", ("Idempotency-Key", key));
        AssertProblem(other, problem, 422, "idempotency_mismatch");
    }

    [Fact]
    public async Task The_same_json_laid_out_otherwise_is_the_same_request_under_an_idempotency_key()
    {
        var (key, email) = (Unique(), NewEmail());
        var (first, created) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""{"kind":"person","given_name":"Zoë","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""", ("Idempotency-Key", key));
        Assert.Equal(HttpStatusCode.Created, first.StatusCode);
        var (again, replayed) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""
            { "source": { "type": "enquiry" }, "emails": [ { "address": "{{{email}}}" } ], "given_name": "Zoë", "kind": "person" }
            """, ("Idempotency-Key", key));
        Assert.Equal(HttpStatusCode.Created, again.StatusCode);
        Assert.Equal("true", again.Headers.GetValues("Idempotent-Replayed").Single());
        Assert.Equal(created.ToJsonString(), replayed.ToJsonString());
    }

    [Theory, InlineData("%2F"), InlineData("%2f")]
    public async Task An_external_id_with_a_slash_is_one_id_in_a_body_and_in_a_path(string slash)
    {
        var (left, right) = (Unique(), Unique());
        var created = await CreateAsync($$$"""{"kind":"person","given_name":"Slash","external_ids":[{"system":"shop","id":"{{{left}}}/{{{right}}}"}],"source":{"type":"enquiry"}}""");
        var (response, same) = await SendAsync(HttpMethod.Put, $"/v1/customers/by-external-id/shop/{left}{slash}{right}", """{"kind":"person","given_name":"Slashed","source":{"type":"enquiry"}}""");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal((string?)created["id"], (string?)same["id"]);
        Assert.Equal($"{left}/{right}", (string?)same["external_ids"]![0]!["id"]);
    }

    [Theory, InlineData("""{"kind":"person","emails":[{"address":"N@example.com"}],"source":{"type":"enquiry"}}"""), InlineData("""{"kind":"person","phones":[{"number":"N"}],"source":{"type":"enquiry"}}""")]
    public async Task A_person_who_is_known_by_a_mailbox_or_a_phone_only_is_found_by_it_and_keeps_it_until_there_is_a_name(string person)
    {
        var value = person.Contains("phones", StringComparison.Ordinal) ? $"+49151{Random.Shared.NextInt64(10_000_000, 99_999_999)}" : $"{Unique()}@example.com";
        var body = person.Replace("N@example.com", value, StringComparison.Ordinal).Replace("\"N\"", $"\"{value}\"", StringComparison.Ordinal);
        var created = await CreateAsync(body);
        Assert.Equal("", (string?)created["display_name"]);
        var (again, suspected) = await SendAsync(HttpMethod.Post, "/v1/customers", body);
        AssertProblem(again, suspected, 409, "duplicate_suspected");

        var path = $"/v1/customers/{created["id"]}";
        var (nameless, problem) = await SendAsync(HttpMethod.Patch, path, """{"emails":null,"phones":[]}""", ("If-Match", "*"));
        AssertProblem(nameless, problem, 400, "validation_failed", "/given_name");
        var (_, named) = await SendAsync(HttpMethod.Patch, path, """{"given_name":"Ada","emails":[],"phones":[]}""", ("If-Match", "*"));
        Assert.Equal("Ada", (string?)named["display_name"]);
    }

    [Theory]
    [InlineData("+44 (0)20 {0}", "+4420{0}")]
    [InlineData("0044 (0) 20 {0}", "+4420{0}")]
    [InlineData("(+353) (0)1 {0}", "+3531{0}")]
    [InlineData("+39 (0)6 {0}", "+3906{0}")]
    [InlineData("+225 (0)7 {0}", "+22507{0}")]
    [InlineData("00225 (0)7 {0}", "+22507{0}")]
    [InlineData("+242 (0)6 {0}", "+24206{0}")]
    [InlineData("+243 (0)8 {0}", "+2438{0}")]
    [InlineData("+1 (0)242 {0}", "+1242{0}")]
    public async Task A_0_in_brackets_after_the_country_code_is_no_part_of_the_number_but_where_numbers_begin_with_it(string written, string number)
    {
        var digits = $"{Random.Shared.Next(10_000_000, 99_999_999)}";
        var created = await CreateAsync($$$"""{"kind":"person","given_name":"Ada","phones":[{"number":"{{{written.Replace("{0}", digits, StringComparison.Ordinal)}}}"}],"source":{"type":"enquiry"}}""");
        Assert.Equal(number.Replace("{0}", digits, StringComparison.Ordinal), (string?)created["phones"]![0]!["number"]);
    }

    [Fact]
    public async Task Letters_that_another_machine_composes_otherwise_are_the_same_name_and_two_hundred_of_any_script_fit()
    {
        var path = $"/v1/customers/by-external-id/shop/{Unique()}";
        var name = string.Concat(Enumerable.Repeat("\ud83d\ude00", 200));
        var (created, _) = await SendAsync(HttpMethod.Put, path, $$$"""{"kind":"person","given_name":"Zo\u00eb","family_name":"{{{name}}}","source":{"type":"enquiry"}}""");
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        var (_, same) = await SendAsync(HttpMethod.Put, path, """{"given_name":"Zoe\u0308"}""");
        Assert.Equal(("Zo\u00eb", 1), ((string?)same["given_name"], (int?)same["version"]));
    }

    [Fact]
    public async Task Head_answers_as_get_does_without_the_body()
    {
        var id = (string?)(await CreatePersonAsync())["id"];
        using var request = new HttpRequestMessage(HttpMethod.Head, $"/v1/customers/{id}");
        using var response = await Client.SendAsync(request, Ct);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("\"1\"", response.Headers.ETag!.Tag);
        Assert.Empty(await response.Content.ReadAsByteArrayAsync(Ct));
    }

    [Fact]
    public async Task A_referrer_is_somebody_else_who_is_there_and_how_a_customer_was_won_is_not_forgotten()
    {
        var (id, gone) = ((string?)(await CreatePersonAsync())["id"], (string?)(await CreatePersonAsync())["id"]);
        var (self, own) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{id}", $$$"""{"source":{"referrer_id":"{{{id}}}"}}""", ("If-Match", "*"));
        AssertProblem(self, own, 422, "unprocessable", "/source/referrer_id");
        var (forgotten, problem) = await SendAsync(HttpMethod.Patch, $"/v1/customers/{id}", """{"source":null}""", ("If-Match", "*"));
        AssertProblem(forgotten, problem, 422, "unprocessable", "/source");
        var (erased, _) = await SendAsync(HttpMethod.Post, $"/v1/customers/{gone}/erasures", """{"reason":"asked"}""", ("If-Match", "*"));
        Assert.True(erased.IsSuccessStatusCode);
        var (late, unknown) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""{"kind":"person","given_name":"Late","emails":[{"address":"{{{NewEmail()}}}"}],"source":{"type":"referral","referrer_id":"{{{gone}}}"}}""");
        AssertProblem(late, unknown, 422, "unknown_customer", "/source/referrer_id");
    }

    public static TheoryData<string, int, string, string?> BadBodies => new()
    {
        { "{", 400, "malformed_json", null },
        { "", 400, "bad_request", "" },
        { "null", 400, "bad_request", "" },
        { "[]", 400, "validation_failed", null },
        { """{"kind":"person","given_name":"A","colour":"red"}""", 400, "validation_failed", "/colour" },
        { """{"kind":"person","given_name":7}""", 400, "validation_failed", "/given_name" },
        { """{"kind":"robot","given_name":"A"}""", 400, "validation_failed", "/kind" },
        { """{"kind":"person"}""", 400, "validation_failed", "/given_name" },
        { """{"kind":"person","emails":[],"addresses":[{"city":"Ware"}],"source":{"type":"enquiry"}}""", 400, "validation_failed", "/given_name" },
        { """{"given_name":"A"}""", 400, "validation_failed", "/kind" },
        { """{"kind":"organization","given_name":"A"}""", 400, "validation_failed", "/name" },
        { """{"kind":"person","given_name":"A","emails":[{"address":"ok@example.com"},{"address":"not an address"}]}""", 400, "validation_failed", "/emails/1/address" },
        { """{"kind":"person","given_name":"A","emails":[{"address":"a@example.com\r\nBcc: b@example.com"}]}""", 400, "validation_failed", "/emails/0/address" },
        { """{"kind":"person","given_name":"A\r\nSet-Cookie: x=1"}""", 400, "validation_failed", "/given_name" },
        { """{"kind":"person","given_name":"\u200b "}""", 400, "validation_failed", "/given_name" },
        { """{"kind":"person","given_name":"A","emails":[{"address":"ok@example.com"},null]}""", 400, "validation_failed", "/emails/1" },
        { """{"kind":"person","given_name":"A\u0000"}""", 400, "validation_failed", "/given_name" },
        { """{"kind":"person","given_name":"A","attributes":{"a":"\ud800"},"source":{"type":"enquiry"}}""", 400, "validation_failed", "/attributes/a" },
        { """{"kind":"person","given_name":"A","phones":[{"number":"12345"}]}""", 400, "validation_failed", "/phones/0/number" },
        { """{"kind":"person","given_name":"A","addresses":[{"country":"ZZ"}]}""", 400, "validation_failed", "/addresses/0/country" },
        { """{"kind":"person","given_name":"A","birth_date":"1999-02-30"}""", 400, "validation_failed", "/birth_date" },
        { """{"kind":"person","given_name":"A","time_zone":"Mars/Olympus"}""", 400, "validation_failed", "/time_zone" },
        { """{"kind":"person","given_name":"A","external_ids":[{"system":"UPPER","id":"1"}]}""", 400, "validation_failed", "/external_ids/0/system" },
        { """{"kind":"person","given_name":"A","attributes":{"nested":{"a":1}}}""", 400, "validation_failed", "/attributes/nested" },
        { """{"kind":"person","given_name":"A","source":{"type":"referral","referrer_id":"cus_00000000000000000000000000"}}""", 422, "unknown_customer", "/source/referrer_id" },
    };

    [Theory]
    [MemberData(nameof(BadBodies))]
    public async Task A_bad_body_is_refused_with_its_code_and_place(string body, int status, string code, string? pointer)
    {
        var (response, problem) = await SendAsync(HttpMethod.Post, "/v1/customers", body);
        AssertProblem(response, problem, status, code, pointer);
    }

    [Fact]
    public async Task An_injection_string_is_a_name_like_any_other()
    {
        const string Name = "Robert'); DROP TABLE customers;--";
        var created = await CreatePersonAsync(Name, "O'Hara");
        var (response, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?q={Uri.EscapeDataString(Name)}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Contains((string?)created["id"], found["data"]!.AsArray().Select(c => (string?)c!["id"]));
    }

    [Fact]
    public async Task A_body_over_a_megabyte_is_413_and_a_wrong_content_type_415()
    {
        var (large, tooLarge) = await SendAsync(HttpMethod.Post, "/v1/customers", $$$"""{"kind":"person","given_name":"{{{new string('x', 10_000_000)}}}"}""");
        AssertProblem(large, tooLarge, 413, "body_too_large");
        using var form = new FormUrlEncodedContent([new("kind", "person")]);
        var response = await Client.PostAsync("/v1/customers", form, Ct);
        AssertProblem(response, JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!, 415, "unsupported_media_type");
    }

    [Fact]
    public async Task Every_event_waits_in_the_queues_of_services_that_have_never_run()
    {
        var factory = new RabbitMQ.Client.ConnectionFactory { Uri = new Uri(Fixture.Platform.BusUri) };
        await using var connection = await factory.CreateConnectionAsync(Ct);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: Ct);
        Assert.Equal(4, Crm.Contracts.Events.Queues.CustomerCopies.Count);
        // Nobody reads these queues here: without what other tests left in them the own event is soon found.
        foreach (var queue in Crm.Contracts.Events.Queues.CustomerCopies)
        {
            await channel.QueuePurgeAsync(queue, Ct);
        }

        var customer = (string)(await CreatePersonAsync())["id"]!;
        foreach (var queue in Crm.Contracts.Events.Queues.CustomerCopies)
        {
            await Eventually.GetAsync(() => IsInAsync(queue), found => found, ct: Ct);
        }

        await using var database = await Fixture.DatabaseAsync("contacts");
        await using var dead = database.CreateCommand("SELECT count(*) FROM dead_letter");
        Assert.Equal(0L, await dead.ExecuteScalarAsync(Ct));

        async Task<bool> IsInAsync(string queue)
        {
            while (await channel.BasicGetAsync(queue, autoAck: true, Ct) is { } message)
            {
                if (System.Text.Encoding.UTF8.GetString(message.Body.Span).Contains(customer, StringComparison.Ordinal))
                {
                    return true;
                }
            }

            return false;
        }
    }
}
