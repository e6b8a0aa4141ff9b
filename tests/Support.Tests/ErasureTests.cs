using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Support.Tests;

/// <summary>What an erasure finds in the cases of others.</summary>
public sealed class ErasureTests(SupportFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _api = fixture.Api;

    [Fact]
    public async Task What_the_erased_wrote_in_a_case_of_somebody_else_stays_without_their_addresses()
    {
        var (former, present) = (Address(), Address());
        var ada = await PersonAsync(former);
        await ChangeAddressAsync(ada, present);
        var path = await OpenAsync(await fixture.CustomerAsync());
        string[] gone = [former, present.ToUpperInvariant(), $" {present} ", $"Ada King <{present}>", $"\"King, Ada\" <{former}>"];
        string[] stay = [$"jo.{present}", $"{present}.uk", $"Ada ({present})", $"Ada <{present}> for Bob", "Ada King"];
        var once = Guid.NewGuid().ToString();
        await ReplyAsync(path, gone[0], once);
        foreach (var author in gone.Skip(1).Concat(stay))
        {
            await ReplyAsync(path, author);
        }

        var before = await _api.CallAsync(path, Ct);
        Assert.Equal(gone.Concat(stay), Authors(before));
        Assert.Equal(1, await StoredAnswersAsync(former));

        var receipt = await ErasedAsync(ada);
        Assert.Equal((0, gone.Length), ((int)receipt["erased"]!["case_messages"]!, (int)receipt["kept"]!["case_messages"]!));
        var after = await _api.CallAsync(path, Ct);
        string?[] authors = [.. new string?[gone.Length], .. stay];
        Assert.Equal(authors, Authors(after));
        Assert.Equal(((long)before["version"]! + 1, "Whose is it?"), ((long)after["version"]!, (string?)after["subject"]));
        Assert.Equal(Bodies(before), Bodies(after));
        Assert.Equal(0, await StoredAnswersAsync(former));

        // Who had read the case does not keep the authors.
        Assert.Equal(HttpStatusCode.OK, (await _api.CallAsync(HttpMethod.Get, path, headers: [("If-None-Match", before.ETag!)], ct: Ct)).Status);
        Assert.Equal(HttpStatusCode.NotModified, (await _api.CallAsync(HttpMethod.Get, path, headers: [("If-None-Match", after.ETag!)], ct: Ct)).Status);

        // What is sent again is not written again, and the case goes on.
        var again = await SendAsync(path, gone[0], once);
        Assert.Equal((HttpStatusCode.Gone, "erased", null, true), (again.Status, again.Code, again.ETag, again.Headers.Contains("Idempotent-Replayed")));
        Assert.Equal(authors, Authors(await _api.CallAsync(path, Ct)));
        Assert.Equal("stale_version", (await _api.PatchAsync(path, """{"subject":"Whose was it?"}""", before.ETag, Ct)).Code);
        Assert.Equal((long)after["version"]! + 1, (long)(await OkAsync(_api.PatchAsync(path, """{"subject":"Whose was it?"}""", after.ETag, Ct)))["version"]!);
    }

    [Fact]
    public async Task Authors_are_found_by_an_index()
    {
        await using var connection = await fixture.Database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var alone = new NpgsqlCommand("SET LOCAL enable_seqscan = off", connection, transaction))
        {
            await alone.ExecuteNonQueryAsync(Ct);
        }

        await using var explain = new NpgsqlCommand("""
            EXPLAIN SELECT m.id FROM case_messages m
            WHERE strpos(m.author, '@') > 0 AND mailbox_digest(m.author) IN (SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)
            """, connection, transaction);
        await using var reader = await explain.ExecuteReaderAsync(Ct);
        var plan = new StringBuilder();
        while (await reader.ReadAsync(Ct))
        {
            plan.AppendLine(reader.GetString(0));
        }

        Assert.Contains("case_messages_author_mailbox", plan.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_author_stays_whose_address_somebody_else_has_now()
    {
        var address = Address();
        var ada = await PersonAsync(address);
        var path = await OpenAsync(await fixture.CustomerAsync());
        await ReplyAsync(path, $"Ada <{address}>");
        await ChangeAddressAsync(ada, Address());
        await PersonAsync(address);

        Assert.Equal(0, (int)(await ErasedAsync(ada))["kept"]!["case_messages"]!);
        Assert.Equal($"Ada <{address}>", Assert.Single(Authors(await _api.CallAsync(path, Ct))));
    }

    [Fact]
    public async Task An_erasure_that_is_heard_of_late_and_twice_leaves_the_address_to_the_customer_of_the_case_who_has_it_now()
    {
        var (address, other) = (Address(), Address());
        var heir = await PersonAsync(address);
        await Eventually.GetAsync(() => KnownAsync(address), known => known == 1, ct: Ct);
        var (theirs, somebodys) = (await OpenAsync(heir), await OpenAsync(await fixture.CustomerAsync()));
        foreach (var path in new[] { theirs, somebodys })
        {
            await ReplyAsync(path, address);
            await ReplyAsync(path, other);
        }

        var (erased, now) = (Ids.Customer.Format(Guid.CreateVersion7()), DateTimeOffset.UtcNow);
        var tombstone = new CustomerSnapshot(
            erased, 2, "person", "", null, null, null, null, null, null, "prospect", "standard", null, new Dictionary<string, JsonElement>(), "erased", null, now, now);
        var heard = new CustomersErased(Ids.Erasure.Format(Guid.CreateVersion7()), erased, [tombstone], now, now, [Digest(address)]);
        Guid[] messages = [Guid.CreateVersion7(), Guid.CreateVersion7()];
        foreach (var message in messages)
        {
            await fixture.Bus.PublishAsync(heard, message, Ct);
        }

        await InboxHoldsAsync(messages);
        string?[] kept = [address, other];
        string?[] left = [null, other];
        Assert.Equal(kept, Authors(await _api.CallAsync(theirs, Ct)));
        Assert.Equal(left, Authors(await _api.CallAsync(somebodys, Ct)));
    }

    private static string Address() => $"zq{Guid.NewGuid():n}@example.com";

    private static string Digest(string address) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)));

    private static IEnumerable<string?> Authors(JsonAnswer read) => read["messages"]!.AsArray().Select(m => (string?)m!["author"]);

    private static IEnumerable<string?> Bodies(JsonAnswer read) => read["messages"]!.AsArray().Select(m => (string?)m!["body"]);

    private async Task<string> PersonAsync(string address) => (string)(await OkAsync(fixture.Contacts.PostAsync(
        "/v1/customers", $$$"""{"kind":"person","given_name":"Ada","family_name":"Byron {{{Guid.NewGuid():n}}}","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> ChangeAddressAsync(string customer, string address) =>
        OkAsync(fixture.Contacts.PatchAsync($"/v1/customers/{customer}", $$"""{"emails":[{"address":"{{address}}"}]}""", "*", Ct));

    /// <summary>The case's path.</summary>
    private async Task<string> OpenAsync(string customer)
    {
        var opened = await OkAsync(_api.PostAsync("/v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Whose is it?"}""", Ct));
        return $"/v1/cases/{opened["id"]}";
    }

    private Task<JsonNode> ReplyAsync(string path, string author, string? once = null) => OkAsync(SendAsync(path, author, once));

    private Task<JsonAnswer> SendAsync(string path, string author, string? once)
    {
        var body = new JsonObject { ["direction"] = "inbound", ["body"] = $"Said {author.Length} times", ["author"] = author };
        return _api.CallAsync(HttpMethod.Post, $"{path}/messages", body.ToJsonString(), once is null ? [] : [("Idempotency-Key", once)], Ct);
    }

    /// <summary>What Support has signed.</summary>
    private async Task<JsonNode> ErasedAsync(string customer)
    {
        var asked = await fixture.Contacts.CallAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", [("If-Match", "*")], Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        var erasure = await Eventually.GetAsync(() => fixture.Contacts.CallAsync($"/v1/erasures/{asked["id"]}", Ct), e => Receipt(e) is not null, ct: Ct);
        return Receipt(erasure)!;

        static JsonNode? Receipt(JsonAnswer answer) => answer["receipts"]?.AsArray().FirstOrDefault(r => (string?)r!["service"] == "support");
    }

    private async Task<long> StoredAnswersAsync(string text)
    {
        await using var count = fixture.Database.CreateCommand("SELECT count(*) FROM idempotency WHERE strpos(convert_from(body, 'UTF8'), $1) > 0");
        count.Parameters.Add(new NpgsqlParameter<string> { TypedValue = text });
        return (long)(await count.ExecuteScalarAsync(Ct))!;
    }

    private async Task<long> KnownAsync(string address)
    {
        await using var count = fixture.Database.CreateCommand("SELECT count(*) FROM customers WHERE primary_email = $1");
        count.Parameters.Add(new NpgsqlParameter<string> { TypedValue = address });
        return (long)(await count.ExecuteScalarAsync(Ct))!;
    }

    private async Task InboxHoldsAsync(Guid[] ids)
    {
        await using var count = fixture.Database.CreateCommand("SELECT count(*) FROM inbox WHERE message_id = ANY ($1)");
        count.Parameters.Add(new NpgsqlParameter<Guid[]> { TypedValue = ids });
        await Eventually.GetAsync(async () => (long)(await count.ExecuteScalarAsync(Ct))!, n => n == ids.Length, ct: Ct);
    }
}
