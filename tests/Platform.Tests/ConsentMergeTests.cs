using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Consents over merges and their undo.</summary>
public sealed class ConsentMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task Of_two_pauses_the_longer_one_holds_after_a_merge_and_each_has_its_own_again_after_the_undo()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var (soon, late) = (DateTime.UtcNow.Date.AddDays(10), DateTime.UtcNow.Date.AddDays(40));
        await SayAsync(survivor, "granted");
        await SayAsync(survivor, "paused", soon);
        await SayAsync(twin, "granted");
        await SayAsync(twin, "paused", late);

        var merge = await MergeAsync(survivor, twin);
        Assert.Equal($"email granted {late:yyyy-MM-dd}", await CurrentAsync(survivor));
        await UndoAsync(merge);
        Assert.Equal($"email granted {soon:yyyy-MM-dd}", await CurrentAsync(survivor));
        Assert.Equal($"email granted {late:yyyy-MM-dd}", await CurrentAsync(twin));
    }

    [Fact]
    public async Task What_is_refused_or_paused_while_two_are_merged_holds_for_each_after_the_undo_and_what_is_granted_for_the_survivor_alone()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var (soon, late) = (DateTime.UtcNow.Date.AddDays(10), DateTime.UtcNow.Date.AddDays(40));
        foreach (var customer in new[] { survivor, twin })
        {
            await SayAsync(customer, "granted");
            await SayAsync(customer, "granted", channel: "phone");
        }

        await SayAsync(twin, "paused", soon, "phone");
        var merge = await MergeAsync(survivor, twin);
        // Under the old id as well; and whoever takes it back may be the other one.
        await SayAsync(twin, "withdrawn");
        await SayAsync(survivor, "granted");
        await SayAsync(survivor, "paused", late, "phone");
        await SayAsync(survivor, "paused", DateTime.UtcNow.Date, "phone");
        await SayAsync(survivor, "granted", channel: "post");
        await SayAsync(survivor, "denied", channel: "sms");

        var undone = await UndoAsync(merge);
        Assert.Equal("email granted, phone granted, post granted, sms denied", await CurrentAsync(survivor));
        Assert.Equal($"email withdrawn, phone granted {late:yyyy-MM-dd}, sms denied", await CurrentAsync(twin));
        Assert.Equal(6, (int)undone["stayed"]!.AsArray().Single(s => (string?)s!["service"] == "contacts")!["counts"]!["consent"]!);
        Assert.Equal([twin, twin, twin], undone["carried_consents"]!.AsArray().Select(c => (string?)c!["customer_id"]));
    }

    [Fact]
    public async Task Who_had_refused_already_is_told_nothing_new_and_a_later_merge_carries_nothing_of_an_earlier_one()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(survivor, "granted");
        await SayAsync(twin, "denied");
        var first = await MergeAsync(survivor, twin);
        await SayAsync(survivor, "withdrawn");
        Assert.Empty((await UndoAsync(first))["carried_consents"]!.AsArray());
        Assert.Equal(("email withdrawn", "email denied"), (await CurrentAsync(survivor), await CurrentAsync(twin)));

        await SayAsync(twin, "granted");
        var second = await MergeAsync(survivor, twin);
        Assert.Equal("email withdrawn", await CurrentAsync(survivor));
        Assert.Empty((await UndoAsync(second))["carried_consents"]!.AsArray());
        Assert.Equal(("email withdrawn", "email granted"), (await CurrentAsync(survivor), await CurrentAsync(twin)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_refusal_holds_for_all_who_were_merged_into_one_another_whichever_merge_is_undone_first(bool firstFirst)
    {
        var (a, b, c, later) = (await NewAsync("A"), await NewAsync("B"), await NewAsync("C"), await NewAsync("D"));
        foreach (var customer in new[] { a, b, c, later })
        {
            await SayAsync(customer, "granted");
        }

        var (first, second) = (await MergeAsync(b, a), await MergeAsync(c, b));
        await SayAsync(c, "withdrawn");
        var third = await MergeAsync(c, later);
        foreach (var merge in firstFirst ? [first, second, third] : new[] { third, second, first })
        {
            await UndoAsync(merge);
        }

        foreach (var customer in new[] { a, b, c })
        {
            Assert.Equal("email withdrawn", await CurrentAsync(customer));
        }

        // It was not one of them when that was said.
        Assert.Equal("email granted", await CurrentAsync(later));
    }

    [Fact]
    public async Task Refusals_of_several_purposes_at_once_all_hold_for_a_customer_who_has_absorbed_another()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var purposes = Enumerable.Range(1, 12).Select(i => $"p{i:00}").ToList();
        foreach (var purpose in purposes)
        {
            await SayAsync(survivor, "granted", purpose: purpose);
        }

        await MergeAsync(survivor, twin);
        for (var round = 0; round < 3; round++)
        {
            foreach (var state in (string[])["granted", "withdrawn"])
            {
                await Task.WhenAll(purposes.Select(p => SayAsync(survivor, state, purpose: p)));
                var current = (await OkAsync(Api.CallAsync($"v1/customers/{survivor}/consents", Ct)))["current"]!.AsArray();
                Assert.Equal(purposes.Select(p => $"{p} {state}"), current.Select(c => $"{c!["purpose"]} {c["state"]}").Order(StringComparer.Ordinal));
            }
        }
    }

    [Fact]
    public async Task What_was_recorded_before_a_merge_counts_before_it_even_when_it_dates_itself_ahead()
    {
        var (a, b, c) = (await NewAsync("A"), await NewAsync("B"), await NewAsync("C"));
        await SayAsync(a, "withdrawn");
        await SayAsync(b, "granted", at: DateTimeOffset.UtcNow.AddMinutes(4));
        await SayAsync(c, "granted");
        var first = await MergeAsync(b, a);
        Assert.Equal("email withdrawn", await CurrentAsync(b));
        // Merged on, too.
        var second = await MergeAsync(c, b);
        Assert.Equal("email withdrawn", await CurrentAsync(c));

        await UndoAsync(second);
        Assert.Equal(("email withdrawn", "email granted"), (await CurrentAsync(b), await CurrentAsync(c)));
        await SayAsync(b, "granted");
        Assert.Equal("email granted", await CurrentAsync(b));
        await UndoAsync(first);
        Assert.Equal(("email withdrawn", "email granted"), (await CurrentAsync(a), await CurrentAsync(b)));
    }

    [Fact]
    public async Task A_refusal_that_dates_itself_ahead_of_a_merge_is_not_taken_back_by_what_is_said_before_its_time()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(survivor, "withdrawn", at: DateTimeOffset.UtcNow.AddMinutes(4));
        await SayAsync(twin, "granted");
        await MergeAsync(survivor, twin);
        await SayAsync(survivor, "granted", at: DateTimeOffset.UtcNow);
        Assert.Equal("email withdrawn", await CurrentAsync(survivor));
        // Without a time of its own it comes after all that was said.
        await SayAsync(survivor, "granted");
        Assert.Equal("email granted", await CurrentAsync(survivor));
    }

    [Fact]
    public async Task What_is_said_while_a_merge_waits_for_its_turn_counts_before_it()
    {
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(twin, "withdrawn");
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("contacts"));
        await using var connection = await database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var hold = new NpgsqlCommand("SELECT FROM merge_previews WHERE survivor_id = $1 FOR UPDATE", connection, transaction))
        {
            hold.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(survivor) });
            await hold.ExecuteNonQueryAsync(Ct);
        }

        var merge = Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct);
        await using (var waiting = database.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"))
        {
            waiting.Parameters.Add(new NpgsqlParameter<int> { TypedValue = connection.ProcessID });
            await Eventually.GetAsync(async () => (long)(await waiting.ExecuteScalarAsync(Ct))!, count => count > 0, ct: Ct);
        }

        await SayAsync(survivor, "granted");
        await transaction.RollbackAsync(Ct);
        await OkAsync(merge);
        Assert.Equal("email withdrawn", await CurrentAsync(survivor));
    }

    private async Task<string> NewAsync(string name) => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"person","given_name":"{{{name}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private Task<JsonNode> SayAsync(
        string customer, string state, DateTime? until = null, string channel = "email", string purpose = "marketing", DateTimeOffset? at = null) => OkAsync(Api.PostAsync(
        $"v1/customers/{customer}/consents",
        new JsonObject
        {
            ["channel"] = channel, ["purpose"] = purpose, ["state"] = state, ["source"] = "call", ["paused_until"] = until?.ToString("O"), ["at"] = at?.ToString("O"),
        }.ToJsonString(), Ct));

    /// <summary>What holds, by channel, with the day until when it is paused.</summary>
    private async Task<string> CurrentAsync(string customer) => string.Join(", ", (await OkAsync(Api.CallAsync($"v1/customers/{customer}/consents", Ct)))["current"]!.AsArray()
        .Select(c => $"{c!["channel"]} {c["state"]} {((string?)c["paused_until"])?[..10]}".TrimEnd()).Order(StringComparer.Ordinal));

    private async Task<string> MergeAsync(string survivor, string absorbed) => (string)(await Api.MergeAsync(survivor, absorbed, Ct))["id"]!;

    private Task<JsonNode> UndoAsync(string merge) => Api.UndoAsync(merge, Ct);
}
