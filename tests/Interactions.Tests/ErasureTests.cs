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

namespace Interactions.Tests;

/// <summary>What an erasure finds in the interactions of others.</summary>
public sealed class ErasureTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _api = fixture.Api;

    [Fact]
    public async Task The_erased_took_part_in_no_interaction_of_somebody_else_which_is_otherwise_as_it_was()
    {
        var (former, present) = (Address(), Address());
        var ada = await PersonAsync(former);
        await ChangeAddressAsync(ada, present);
        var customer = await fixture.CustomerAsync();
        string[] gone = [former, present.ToUpperInvariant(), $" {present} ", $"Ada King <{present}>", $"\"King, Ada\" <{former}>"];
        string[] stay = [$"jo.{present}", $"{present}.uk", $"Ada ({present})", $"Ada <{present}> for Bob", "Ada King"];
        var path = await LogAsync(customer, [stay[0], .. gone, .. stay.Skip(1)]);
        var read = await OkAsync(_api.CallAsync(path, Ct));

        var receipt = await ErasedAsync(ada);
        Assert.Equal((0, 1), ((int)receipt["erased"]!["interactions"]!, (int)receipt["kept"]!["interactions"]!));
        var after = await _api.CallAsync(path, Ct);
        Assert.Equal(stay, Participants(after));
        Assert.Equal("\"2\"", after.ETag);
        foreach (var member in new[] { "customer_id", "channel", "started_at", "subject", "body", "updated_at" })
        {
            Assert.Equal((string?)read[member], (string?)after[member]);
        }

        Assert.Equal(2, await TimelineVersionAsync(path));
        // Who changes it by the version that had the address does not write that back.
        Assert.Equal("stale_version", (await _api.PatchAsync(path, $$"""{"participants":["{{former}}"]}""", "\"1\"", Ct)).Code);
        Assert.Equal(3, (int)(await OkAsync(_api.PatchAsync(path, """{"subject":"Who else was there"}""", "\"2\"", Ct)))["version"]!);
        Assert.Equal(stay, Participants(await _api.CallAsync(path, Ct)));
    }

    [Fact]
    public async Task Who_took_part_once_is_forgotten_by_the_history_and_by_stored_answers_and_a_like_address_is_not()
    {
        var address = Address();
        var ada = await PersonAsync(address);
        var customer = await fixture.CustomerAsync();
        var once = Guid.NewGuid().ToString();
        var path = await LogAsync(customer, [$"Ada <{address}>", "Bob"], once);
        await OkAsync(_api.PatchAsync(path, """{"participants":["Bob"]}""", "*", Ct));
        await OkAsync(_api.PatchAsync(path, """{"subject":"Without her"}""", "*", Ct));
        var like = await LogAsync(customer, [$"jo.{address}"]);
        Assert.Equal((3L, 1L, 1L), (await HistoryAsync(path), await HistoryAsync(like), await StoredAnswersAsync(address)));

        var receipt = await ErasedAsync(ada);
        Assert.Equal((2, 0), ((int)receipt["erased"]!["audit_value"]!, (int)receipt["kept"]!["interactions"]!));
        Assert.Equal((1L, 1L, 0L), (await HistoryAsync(path), await HistoryAsync(like), await StoredAnswersAsync(address)));
        Assert.Equal(("\"3\"", "Bob"), ((await _api.CallAsync(path, Ct)).ETag, Assert.Single(Participants(await _api.CallAsync(path, Ct)))));

        // What is sent again is not written again, with the address in it.
        var again = await SendAsync(customer, [$"Ada <{address}>", "Bob"], once);
        Assert.Equal((HttpStatusCode.Gone, "erased", null, true), (again.Status, again.Code, again.ETag, again.Headers.Contains("Idempotent-Replayed")));
        Assert.Equal(path, again.Headers.Location?.OriginalString);
        Assert.Equal(2, (await _api.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data.Count);
    }

    [Theory]
    [InlineData(
        "interactions_mailboxes",
        "EXPLAIN SELECT i.id FROM interactions i WHERE i.participants::text LIKE '%@%' AND mailbox_digests(i.participants) && ARRAY(SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)")]
    [InlineData(
        "audit_value_mailboxes",
        """EXPLAIN SELECT v.entry_id FROM audit_value v WHERE v.changes LIKE '%"participants"%@%' AND mailbox_digests(v.changes::jsonb -> 'participants') && ARRAY(SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)""")]
    public async Task Participants_are_found_by_an_index(string index, string explain)
    {
        await using var connection = await fixture.Database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var alone = new NpgsqlCommand("SET LOCAL enable_seqscan = off", connection, transaction))
        {
            await alone.ExecuteNonQueryAsync(Ct);
        }

#pragma warning disable CA2100 // A constant of the test.
        await using var command = new NpgsqlCommand(explain, connection, transaction);
#pragma warning restore CA2100
        await using var reader = await command.ExecuteReaderAsync(Ct);
        var plan = new StringBuilder();
        while (await reader.ReadAsync(Ct))
        {
            plan.AppendLine(reader.GetString(0));
        }

        Assert.Contains(index, plan.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_participant_stays_whose_address_somebody_else_has_now()
    {
        var address = Address();
        var ada = await PersonAsync(address);
        var path = await LogAsync(await fixture.CustomerAsync(), [$"Ada <{address}>"]);
        await ChangeAddressAsync(ada, Address());
        await PersonAsync(address);

        Assert.Equal(0, (int)(await ErasedAsync(ada))["kept"]!["interactions"]!);
        Assert.Equal($"Ada <{address}>", Assert.Single(Participants(await _api.CallAsync(path, Ct))));
        Assert.Equal(1, await HistoryAsync(path));
    }

    [Fact]
    public async Task An_erasure_that_is_heard_of_late_and_twice_leaves_the_address_to_the_customer_who_has_it_now()
    {
        var (address, other) = (Address(), Address());
        var heir = await PersonAsync(address);
        await Eventually.GetAsync(() => KnownAsync(address), known => known == 1, ct: Ct);
        var (theirs, somebodys) = (await LogAsync(heir, [address, other]), await LogAsync(await fixture.CustomerAsync(), [address, other]));

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
        var (kept, left) = (await _api.CallAsync(theirs, Ct), await _api.CallAsync(somebodys, Ct));
        string[] both = [address, other];
        Assert.Equal(both, Participants(kept));
        Assert.Equal(other, Assert.Single(Participants(left)));
        Assert.Equal(("\"1\"", "\"2\""), (kept.ETag, left.ETag));
        Assert.Equal((1L, 0L), (await HistoryAsync(theirs), await HistoryAsync(somebodys)));
    }

    private static string Address() => $"zq{Guid.NewGuid():n}@example.com";

    private static string Digest(string address) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)));

    private static IEnumerable<string?> Participants(JsonAnswer read) => read["participants"]!.AsArray().Select(p => (string?)p);

    private async Task<string> PersonAsync(string address) => (string)(await OkAsync(fixture.Contacts.PostAsync(
        "/v1/customers", $$$"""{"kind":"person","given_name":"Ada","family_name":"Byron {{{Guid.NewGuid():n}}}","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> ChangeAddressAsync(string customer, string address) =>
        OkAsync(fixture.Contacts.PatchAsync($"/v1/customers/{customer}", $$"""{"emails":[{"address":"{{address}}"}]}""", "*", Ct));

    /// <summary>The interaction's path.</summary>
    private async Task<string> LogAsync(string customer, string[] participants, string? once = null) =>
        $"/v1/interactions/{(await OkAsync(SendAsync(customer, participants, once)))["id"]}";

    private Task<JsonAnswer> SendAsync(string customer, string[] participants, string? once)
    {
        var body = new JsonObject
        {
            ["customer_id"] = customer,
            ["channel"] = "call",
            ["direction"] = "inbound",
            ["started_at"] = "2026-03-01T10:00:00Z",
            ["subject"] = "Who was there",
            ["body"] = "All of them",
            ["participants"] = JsonSerializer.SerializeToNode(participants),
        };
        return _api.CallAsync(HttpMethod.Post, "/v1/interactions", body.ToJsonString(), once is null ? [] : [("Idempotency-Key", once)], Ct);
    }

    /// <summary>What Interactions has signed.</summary>
    private async Task<JsonNode> ErasedAsync(string customer)
    {
        var asked = await fixture.Contacts.CallAsync(HttpMethod.Post, $"/v1/customers/{customer}/erasures", """{"reason":"Asked for"}""", [("If-Match", "*")], Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        var erasure = await Eventually.GetAsync(() => fixture.Contacts.CallAsync($"/v1/erasures/{asked["id"]}", Ct), e => Receipt(e) is not null, ct: Ct);
        return Receipt(erasure)!;

        static JsonNode? Receipt(JsonAnswer answer) => answer["receipts"]?.AsArray().FirstOrDefault(r => (string?)r!["service"] == "interactions");
    }

    /// <summary>How many changes of the interaction are told with their values.</summary>
    private async Task<long> HistoryAsync(string path)
    {
        await using var count = fixture.Database.CreateCommand("SELECT count(*) FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.record_type = 'interaction' AND e.record_id = $1");
        count.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Interaction.Parse(path[(path.LastIndexOf('/') + 1)..]) });
        return (long)(await count.ExecuteScalarAsync(Ct))!;
    }

    private async Task<long> TimelineVersionAsync(string path)
    {
        await using var read = fixture.Database.CreateCommand("SELECT version FROM timeline WHERE type = 'interaction' AND id = $1");
        read.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Interaction.Parse(path[(path.LastIndexOf('/') + 1)..]) });
        return (long)(await read.ExecuteScalarAsync(Ct))!;
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
