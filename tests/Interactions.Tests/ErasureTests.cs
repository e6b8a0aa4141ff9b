using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
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
        var (former, present) = (Erasures.NewAddress(), Erasures.NewAddress());
        var ada = await fixture.PersonAsync(former);
        await fixture.ChangeAddressAsync(ada, present);
        var customer = await fixture.CustomerAsync();
        string[] gone = [former, present.ToUpperInvariant(), $" {present} ", $"Ada King <{present}>", $"\"King, Ada\" <{former}>"];
        string[] stay = [$"jo.{present}", $"{present}.uk", $"Ada ({present})", $"Ada <{present}> for Bob", "Ada King"];
        var path = await LogAsync(customer, [stay[0], .. gone, .. stay.Skip(1)]);
        var read = await OkAsync(_api.CallAsync(path, Ct));

        var receipt = await fixture.EraseAsync(ada);
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
        var address = Erasures.NewAddress();
        var ada = await fixture.PersonAsync(address);
        var customer = await fixture.CustomerAsync();
        var once = Guid.NewGuid().ToString();
        var path = await LogAsync(customer, [$"Ada <{address}>", "Bob"], once);
        await OkAsync(_api.PatchAsync(path, """{"participants":["Bob"]}""", "*", Ct));
        await OkAsync(_api.PatchAsync(path, """{"subject":"Without her"}""", "*", Ct));
        var like = await LogAsync(customer, [$"jo.{address}"]);
        Assert.Equal((3L, 1L, 1L), (await HistoryAsync(path), await HistoryAsync(like), await fixture.StoredAnswersAsync(address)));

        var receipt = await fixture.EraseAsync(ada);
        Assert.Equal((2, 0), ((int)receipt["erased"]!["audit_value"]!, (int)receipt["kept"]!["interactions"]!));
        Assert.Equal((1L, 1L, 0L), (await HistoryAsync(path), await HistoryAsync(like), await fixture.StoredAnswersAsync(address)));
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
        "SELECT i.id FROM interactions i WHERE i.participants::text LIKE '%@%' AND mailbox_digests(i.participants) && ARRAY(SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)")]
    [InlineData(
        "audit_value_mailboxes",
        """SELECT v.entry_id FROM audit_value v WHERE v.changes LIKE '%"participants"%@%' AND mailbox_digests(v.changes::jsonb -> 'participants') && ARRAY(SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)""")]
    public async Task Participants_are_found_by_an_index(string index, string query) =>
        Assert.Contains(index, await fixture.PlanAsync(query), StringComparison.Ordinal);

    [Fact]
    public async Task A_participant_stays_whose_address_somebody_else_has_now()
    {
        var address = Erasures.NewAddress();
        var ada = await fixture.PersonAsync(address);
        var path = await LogAsync(await fixture.CustomerAsync(), [$"Ada <{address}>"]);
        await fixture.ChangeAddressAsync(ada, Erasures.NewAddress());
        await fixture.PersonAsync(address);

        Assert.Equal(0, (int)(await fixture.EraseAsync(ada))["kept"]!["interactions"]!);
        Assert.Equal($"Ada <{address}>", Assert.Single(Participants(await _api.CallAsync(path, Ct))));
        Assert.Equal(1, await HistoryAsync(path));
    }

    [Fact]
    public async Task An_erasure_that_is_heard_of_late_and_twice_leaves_the_address_to_the_customer_who_has_it_now()
    {
        var (address, other) = (Erasures.NewAddress(), Erasures.NewAddress());
        var heir = await fixture.PersonAsync(address);
        await fixture.KnowsAsync(address);
        var (theirs, somebodys) = (await LogAsync(heir, [address, other]), await LogAsync(await fixture.CustomerAsync(), [address, other]));

        await fixture.HearOfErasureAsync(address);
        var (kept, left) = (await _api.CallAsync(theirs, Ct), await _api.CallAsync(somebodys, Ct));
        string[] both = [address, other];
        Assert.Equal(both, Participants(kept));
        Assert.Equal(other, Assert.Single(Participants(left)));
        Assert.Equal(("\"1\"", "\"2\""), (kept.ETag, left.ETag));
        Assert.Equal((1L, 0L), (await HistoryAsync(theirs), await HistoryAsync(somebodys)));
    }

    private static IEnumerable<string?> Participants(JsonAnswer read) => read["participants"]!.AsArray().Select(p => (string?)p);

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

    /// <summary>How many changes of the interaction are told with their values.</summary>
    private Task<long> HistoryAsync(string path) => fixture.CountAsync(
        "SELECT count(*) FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.record_type = 'interaction' AND e.record_id = $1", Key(path));

    private Task<long> TimelineVersionAsync(string path) =>
        fixture.CountAsync("SELECT version FROM timeline WHERE type = 'interaction' AND id = $1", Key(path));

    private static Guid Key(string path) => Ids.Interaction.Parse(path[(path.LastIndexOf('/') + 1)..]);
}
