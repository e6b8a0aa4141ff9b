using System.Net;
using System.Text.Json.Nodes;
using Crm.Testing;
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
        var (former, present) = (Erasures.NewAddress(), Erasures.NewAddress());
        var ada = await fixture.PersonAsync(former);
        await fixture.ChangeAddressAsync(ada, present);
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
        Assert.Equal(1, await fixture.StoredAnswersAsync(former));

        var receipt = await fixture.EraseAsync(ada);
        Assert.Equal((0, gone.Length), ((int)receipt["erased"]!["case_messages"]!, (int)receipt["kept"]!["case_messages"]!));
        var after = await _api.CallAsync(path, Ct);
        string?[] authors = [.. new string?[gone.Length], .. stay];
        Assert.Equal(authors, Authors(after));
        Assert.Equal(((long)before["version"]! + 1, "Whose is it?"), ((long)after["version"]!, (string?)after["subject"]));
        Assert.Equal(Bodies(before), Bodies(after));
        Assert.Equal(0, await fixture.StoredAnswersAsync(former));

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
    public async Task Authors_are_found_by_an_index() => Assert.Contains(
        "case_messages_author_mailbox",
        await fixture.PlanAsync("""
            SELECT m.id FROM case_messages m
            WHERE strpos(m.author, '@') > 0 AND mailbox_digest(m.author) IN (SELECT decode(d, 'hex') FROM unnest(ARRAY['00', '01']) AS d)
            """),
        StringComparison.Ordinal);

    [Fact]
    public async Task An_author_stays_whose_address_somebody_else_has_now()
    {
        var address = Erasures.NewAddress();
        var ada = await fixture.PersonAsync(address);
        var path = await OpenAsync(await fixture.CustomerAsync());
        await ReplyAsync(path, $"Ada <{address}>");
        await fixture.ChangeAddressAsync(ada, Erasures.NewAddress());
        await fixture.PersonAsync(address);

        Assert.Equal(0, (int)(await fixture.EraseAsync(ada))["kept"]!["case_messages"]!);
        Assert.Equal($"Ada <{address}>", Assert.Single(Authors(await _api.CallAsync(path, Ct))));
    }

    [Fact]
    public async Task An_erasure_that_is_heard_of_late_and_twice_leaves_the_address_to_the_customer_of_the_case_who_has_it_now()
    {
        var (address, other) = (Erasures.NewAddress(), Erasures.NewAddress());
        var heir = await fixture.PersonAsync(address);
        await fixture.KnowsAsync(address);
        var (theirs, somebodys) = (await OpenAsync(heir), await OpenAsync(await fixture.CustomerAsync()));
        foreach (var path in new[] { theirs, somebodys })
        {
            await ReplyAsync(path, address);
            await ReplyAsync(path, other);
        }

        await fixture.HearOfErasureAsync(address);
        string?[] kept = [address, other];
        string?[] left = [null, other];
        Assert.Equal(kept, Authors(await _api.CallAsync(theirs, Ct)));
        Assert.Equal(left, Authors(await _api.CallAsync(somebodys, Ct)));
    }

    private static IEnumerable<string?> Authors(JsonAnswer read) => read["messages"]!.AsArray().Select(m => (string?)m!["author"]);

    private static IEnumerable<string?> Bodies(JsonAnswer read) => read["messages"]!.AsArray().Select(m => (string?)m!["body"]);

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
}
