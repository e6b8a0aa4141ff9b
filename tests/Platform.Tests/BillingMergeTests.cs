using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts.Merges.V1;
using Crm.Hosting;
using Crm.Hosting.Auth;
using Crm.Testing;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Options;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Billing accounts over merges and their undo: two who pay in one source do not become one unnoticed.</summary>
public sealed class BillingMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task An_account_that_came_with_a_merge_of_a_moment_ago_forbids_the_next_merge()
    {
        var (payer, middle, survivor) = (await NewAsync("Ann"), await NewAsync("Anne"), await NewAsync("Anna"));
        await SayAsync(payer, """{"subscription":"active"}""");
        await SayAsync(survivor, """{"provider_customer_id":"acct_1","subscription":"none"}""");
        var merge = await WhileBillingLagsAsync(async () =>
        {
            var running = await Api.MergeAsync(middle, payer, Ct);
            await AssertBlockedAsync(survivor, middle);
            return running;
        });
        await Api.WaitForMergeAsync((string)merge["id"]!, "completed", Ct);
        await AssertBlockedAsync(survivor, middle);
    }

    [Fact]
    public async Task An_account_that_an_undo_has_still_to_give_back_is_the_restored_customers_and_forbids_no_merge_of_the_other_one()
    {
        var (payer, middle, survivor) = (await NewAsync("Ann"), await NewAsync("Anne"), await NewAsync("Anna"));
        await SayAsync(payer, """{"subscription":"active"}""");
        await SayAsync(survivor, """{"provider_customer_id":"acct_1","subscription":"none"}""");
        var first = await MergedAsync(middle, payer);
        var second = await WhileBillingLagsAsync(async () =>
        {
            await Api.UndoAsync(first, Ct);
            await AssertBlockedAsync(survivor, payer);
            return await Api.MergeAsync(survivor, middle, Ct);
        });
        await Api.WaitForMergeAsync(first, "undone", Ct);
        await Api.WaitForMergeAsync((string)second["id"]!, "completed", Ct);
        Assert.Equal([" active"], await AccountsAsync(payer));
        Assert.Equal(["acct_1 none"], await AccountsAsync(survivor));
    }

    [Fact]
    public async Task A_caller_that_does_not_say_whom_customers_have_absorbed_is_answered_by_what_the_service_has_heard()
    {
        var (payer, middle, survivor) = (await NewAsync("Ann"), await NewAsync("Anne"), await NewAsync("Anna"));
        await SayAsync(payer, """{"subscription":"active"}""");
        await SayAsync(survivor, """{"subscription":"active"}""");
        await MergedAsync(middle, payer);

        // As Contacts of the release before asks.
        var key = await File.ReadAllTextAsync(Path.Combine(Fixture.Platform.Secrets.FolderOf("contacts"), "Auth__PrivateKey"), Ct);
        using var tokens = new InternalTokens(
            Options.Create(new AuthOptions { PrivateKey = key, TrustedKeys = "", GatewayJwks = new Uri("http://localhost") }), new ServiceName("contacts"), TimeProvider.System);
        using var channel = GrpcChannel.ForAddress(Fixture.Platform["billing-sync"].GrpcAddress!);
        var impact = await new Merges.MergesClient(channel).GetImpactAsync(
            new GetImpactRequest { SurvivorId = survivor, AbsorbedIds = { middle } }, new Metadata { { "authorization", $"Bearer {tokens.Own()}" } }, DateTime.UtcNow.AddSeconds(20), Ct);
        Assert.Equal(Sorted(survivor, middle), Assert.Single(impact.Blockers).CustomerIds.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_account_opened_while_a_merge_is_under_way_is_shown_with_the_merge()
    {
        var (payer, late) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(payer, """{"provider_customer_id":"acct_1","subscription":"none"}""");
        await SayAsync(late, """{"subscription":"none"}""");
        var merge = (string)(await WhileBillingLagsAsync(async () =>
        {
            var running = await Api.MergeAsync(payer, late, Ct);
            Assert.Equal("updated", await SayAsync(late, """{"subscription":"active"}"""));
            return running;
        }))["id"]!;

        var completed = await Api.WaitForMergeAsync(merge, "completed", Ct);
        var blocker = Assert.Single(completed["blockers"]!.AsArray())!;
        Assert.Equal(("two_paying_accounts", "stripe"), ((string?)blocker["code"], (string?)blocker["source"]));
        Assert.Equal(Sorted(payer, late), CustomersOf(blocker));
        Assert.Equal([" active", "acct_1 none"], await AccountsAsync(payer));

        // Undone, they are two who pay again.
        await UndoneAsync(merge);
        Assert.Empty((await OkAsync(Api.CallAsync($"v1/merges/{merge}", Ct)))["blockers"]!.AsArray());
        Assert.Equal([" active"], await AccountsAsync(late));
    }

    [Fact]
    public async Task A_merge_of_one_who_pays_with_one_who_does_not_shows_nothing()
    {
        var (payer, other) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(payer, """{"subscription":"active"}""");
        await SayAsync(other, """{"subscription":"canceled"}""");
        var merge = await MergedAsync(other, payer);
        Assert.Empty((await OkAsync(Api.CallAsync($"v1/merges/{merge}", Ct)))["blockers"]!.AsArray());
        Assert.Equal([" active", " canceled"], await AccountsAsync(other));
    }

    [Fact]
    public async Task A_survivors_own_account_is_opened_beside_one_that_came_with_a_merge_and_stays_when_that_goes_back()
    {
        var (survivor, former) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(former, """{"subscription":"canceled"}""");
        var merge = await MergedAsync(survivor, former);
        Assert.Equal("unchanged", await SayAsync(survivor, """{"subscription":"canceled"}"""));
        Assert.Equal("created", await SayAsync(survivor, """{"provider_customer_id":"acct_2","subscription":"active"}"""));
        Assert.Equal("unchanged", await SayAsync(survivor, """{"provider_customer_id":"acct_2","subscription":"active"}"""));
        Assert.Equal([" canceled", "acct_2 active"], await AccountsAsync(survivor));

        await UndoneAsync(merge);
        Assert.Equal(["acct_2 active"], await AccountsAsync(survivor));
        Assert.Equal([" canceled"], await AccountsAsync(former));
    }

    [Fact]
    public async Task An_account_that_came_with_a_merge_is_changed_by_its_provider_id_and_goes_back_as_it_is_by_then()
    {
        var (survivor, payer) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(payer, """{"provider_customer_id":"acct_1","subscription":"active"}""");
        await SayAsync(survivor, """{"subscription":"none"}""");
        var merge = await MergedAsync(survivor, payer);
        Assert.Equal("unchanged", await SayAsync(survivor, """{"provider_customer_id":"acct_1","subscription":"active"}"""));
        Assert.Equal("updated", await SayAsync(survivor, """{"provider_customer_id":"acct_1","subscription":"canceled"}"""));
        Assert.Equal([" none", "acct_1 canceled"], await AccountsAsync(survivor));

        await UndoneAsync(merge);
        Assert.Equal([" none"], await AccountsAsync(survivor));
        Assert.Equal(["acct_1 canceled"], await AccountsAsync(payer));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_survivor_pays_by_an_account_of_its_own_only_when_the_one_that_came_with_a_merge_is_ended_under_the_id_that_it_came_from(bool hasOwn)
    {
        var (survivor, payer) = (await NewAsync("Ann"), await NewAsync("Anne"));
        await SayAsync(payer, """{"provider_customer_id":"acct_1","subscription":"active"}""");
        if (hasOwn)
        {
            await SayAsync(survivor, """{"subscription":"none"}""");
        }

        var merge = await MergedAsync(survivor, payer);
        const string Own = """{"provider_customer_id":"acct_2","subscription":"active"}""";
        var refused = await Api.PutAsync($"v1/customers/{survivor}/billing-accounts/stripe", Own, Ct);
        Assert.Equal((HttpStatusCode.Conflict, "two_paying_accounts"), (refused.Status, refused.Code));
        Assert.Equal(hasOwn ? " none, acct_1 active" : "acct_1 active", string.Join(", ", await AccountsAsync(survivor)));

        Assert.Equal("updated", await SayAsync(payer, """{"subscription":"canceled"}"""));
        Assert.Equal(hasOwn ? "updated" : "created", await SayAsync(survivor, Own));
        await UndoneAsync(merge);
        Assert.Equal(["acct_2 active"], await AccountsAsync(survivor));
        Assert.Equal([" canceled"], await AccountsAsync(payer));
    }

    private async Task<string> NewAsync(string name) => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"person","given_name":"{{{name}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    /// <summary>What an upsert of the customer's account does.</summary>
    private async Task<string?> SayAsync(string customer, string account) =>
        (string?)(await OkAsync(Api.PutAsync($"v1/customers/{customer}/billing-accounts/stripe", account, Ct)))["result"];

    private async Task<List<string>> AccountsAsync(string customer) =>
    [
        .. (await Api.CallAsync($"v1/customers/{customer}/billing-accounts", Ct)).Data.Select(a => $"{a["provider_customer_id"]} {a["subscription"]}").Order(StringComparer.Ordinal),
    ];

    private async Task<string> MergedAsync(string survivor, string absorbed) =>
        (string)(await Api.WaitForMergeAsync((string)(await Api.MergeAsync(survivor, absorbed, Ct))["id"]!, "completed", Ct))["id"]!;

    private async Task UndoneAsync(string merge)
    {
        await Api.UndoAsync(merge, Ct);
        await Api.WaitForMergeAsync(merge, "undone", Ct);
    }

    private async Task AssertBlockedAsync(string survivor, string absorbed)
    {
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{absorbed}}"],"survivor_id":"{{survivor}}"}""", Ct));
        Assert.Equal(Sorted(survivor, absorbed), CustomersOf(Assert.Single(preview["manifest"]!["blockers"]!.AsArray())!));
        var refused = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct);
        Assert.Equal((HttpStatusCode.Conflict, "two_paying_accounts"), (refused.Status, refused.Code));
    }

    private static IEnumerable<string> CustomersOf(JsonNode blocker) => blocker["customer_ids"]!.AsArray().Select(c => (string)c!).Order(StringComparer.Ordinal);

    private static IEnumerable<string> Sorted(params string[] customers) => customers.Order(StringComparer.Ordinal);

    /// <summary>Meanwhile BillingSync hears of merges and undos and applies none; all else that it is asked, it does.</summary>
    private async Task<JsonNode> WhileBillingLagsAsync(Func<Task<JsonNode>> work)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("billing-sync"));
        await using var connection = await database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var hold = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('customer merges', 0))", connection, transaction))
        {
            await hold.ExecuteNonQueryAsync(Ct);
        }

        return await work();
    }
}
