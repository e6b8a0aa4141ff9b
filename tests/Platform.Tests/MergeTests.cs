using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Testing;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Merges and their undo through the public door, over all five services.</summary>
public sealed class MergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private static readonly string[] Services = ["billing-sync", "campaigns", "contacts", "interactions", "support"];

    [Fact]
    public async Task A_merge_undone_gives_both_customers_back_everything_and_what_came_since_stays_with_the_survivor()
    {
        var (ada, augusta) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        foreach (var (customer, state) in new[] { (ada, "granted"), (augusta, "denied") })
        {
            await FillAsync(customer, cases: 3, invoices: 2, interactions: 10);
            await OkAsync(Api.PostAsync($"v1/customers/{customer}/consents", $$"""{"channel":"email","purpose":"marketing","state":"{{state}}","source":"web_form"}""", Ct));
        }

        var before = (Ada: await SnapshotAsync(ada, 15), Augusta: await SnapshotAsync(augusta, 15));
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{ada}}","{{augusta}}"],"survivor_id":"{{ada}}"}""", Ct));
        Assert.Equal(
            ["billing-sync invoices 2", "campaigns cases 3", "campaigns interactions 10", "contacts consents 1", "contacts external_ids 1",
             "interactions interactions 10", "interactions timeline 15", "support cases 3"],
            preview["manifest"]!["services"]!.AsArray()
                .SelectMany(s => s!["rows"]!.AsArray().Where(r => (int)r!["moved"]! > 0).Select(r => $"{s["service"]} {r!["table"]} {r["moved"]}"))
                .Order(StringComparer.Ordinal));

        var merge = await MergeAsync(ada, augusta);
        Assert.Equal(Services, merge["receipts"]!.AsArray().Select(r => (string)r!["service"]!));
        var moved = Counts(merge, "merge");
        Assert.Equal((3, 2, 10, 15, 1), (moved["support.cases"], moved["billing-sync.invoices"], moved["interactions.interactions"], moved["interactions.timeline"], moved["contacts.consents"]));

        var whole = await SnapshotAsync(ada, 30);
        Assert.Equal((6, 4, 20), (whole.Cases.Count, whole.Invoices.Count, whole.Interactions.Count));
        Assert.Equal("denied", (string?)whole.Consents["current"]!.AsArray().Single()!["state"]);
        Assert.Equal(2, whole.Consents["history"]!.AsArray().Count);
        Assert.Equal(augusta, (string?)Assert.Single(whole.Customer["merged_from"]!.AsArray()));

        // Under the old id: it is the survivor's, and says so.
        var late = await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{augusta}}","type":"question","subject":"Later"}""", Ct));
        Assert.Equal(ada, (string?)late["customer_id"]);

        var undone = await UndoAsync((string)merge["id"]!);
        Assert.Equal("undone", (string?)undone["status"]);
        var support = Assert.Single(undone["stayed"]!.AsArray());
        Assert.Equal(("support", 1, (string?)late["id"]), ((string?)support!["service"], (int)support["counts"]!["case"]!, (string?)support["rows"]![0]!["id"]));
        Assert.Equal(moved, Counts(undone, "undo"));

        var after = (Ada: await SnapshotAsync(ada, 16), Augusta: await SnapshotAsync(augusta, 15));
        AssertSame(before.Augusta, after.Augusta);
        Assert.Contains((string)late["id"]!, after.Ada.Cases);
        AssertSame(before.Ada, after.Ada with { Cases = [.. after.Ada.Cases.Where(c => c != (string)late["id"]!)] });
    }

    [Fact]
    public async Task The_merges_of_a_customer_are_listed_with_those_of_all_whom_it_has_absorbed_under_the_id_of_any_of_them()
    {
        var (first, second, third, other) = (await PersonAsync("First"), await PersonAsync("Second"), await PersonAsync("Third"), await PersonAsync("Other"));
        var apart = (string)(await MergeAsync(second, other))["id"]!;
        await UndoAsync(apart);
        var inner = (string)(await MergeAsync(second, first))["id"]!;
        var outer = (string)(await MergeAsync(third, second))["id"]!;
        foreach (var customer in new[] { first, second, third })
        {
            Assert.Equal([outer, inner, apart], await ListAsync($"customer_id={customer}"));
            Assert.Equal([outer, inner], await ListAsync($"customer_id={customer}&status=completed"));
            var page = await Api.CallAsync($"v1/merges?customer_id={customer}&limit=2", Ct);
            Assert.Equal([outer, inner], page.Data.Select(m => (string?)m["id"]));
            Assert.Equal([apart], await ListAsync($"customer_id={customer}&limit=2&cursor={page["next_cursor"]}"));
        }

        // Who was taken out again has its own merge only, and those who went on without it have that one too.
        Assert.Equal([apart], await ListAsync($"customer_id={other}"));
        await UndoAsync(outer);
        Assert.Equal([outer, inner, apart], await ListAsync($"customer_id={first}"));
        Assert.Equal([outer], await ListAsync($"customer_id={third}"));

        async Task<List<string?>> ListAsync(string query) => [.. (await Api.CallAsync($"v1/merges?{query}", Ct)).Data.Select(m => (string?)m["id"])];
    }

    [Fact]
    public async Task An_old_id_leads_to_the_survivor_for_ever()
    {
        var (old, survivor) = (await PersonAsync("Old"), await PersonAsync("New"));
        await MergeAsync(survivor, old);
        foreach (var path in new[] { "", "/consents", "/timeline?limit=5", "/account", "/overview", "/billing-accounts" })
        {
            var answer = await Api.CallAsync($"v1/customers/{old}{path}", Ct);
            Assert.Equal(((HttpStatusCode)308, $"/v1/customers/{survivor}{path}"), (answer.Status, answer.Headers.Location?.OriginalString));
            Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync(answer.Headers.Location!.OriginalString, Ct)).Status);
        }

        var patch = await Api.PatchAsync($"v1/customers/{old}", """{"locale":"en-GB"}""", "*", Ct);
        Assert.Equal(((HttpStatusCode)308, "customer_merged"), (patch.Status, patch.Code ?? (string?)patch["code"]));
        var order = await OkAsync(Api.PutAsync($"v1/orders/by-external-id/shop/{Guid.NewGuid():n}",
            $$"""{"customer_id":"{{old}}","placed_at":"2026-01-01T00:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}""", Ct));
        Assert.Equal(survivor, (string?)order["customer_id"]);
        Assert.Single((await Api.CallAsync($"v1/orders?customer_id={old}", Ct)).Data);
        var statement = await OkAsync(Api.PostAsync($"v1/customers/{old}/consents", """{"channel":"sms","purpose":"news","state":"granted","source":"call"}""", Ct));
        Assert.Equal("granted", (string?)statement["state"]);
        Assert.Single((await OkAsync(Api.CallAsync($"v1/customers/{survivor}/consents", Ct)))["current"]!.AsArray());
        Assert.DoesNotContain((await Api.CallAsync("v1/customers?q=Old&limit=100", Ct)).Data, c => (string?)c["id"] == old);
    }

    [Fact]
    public async Task A_customer_is_not_merged_into_itself_nor_a_person_with_an_organization()
    {
        var (a, b) = (await PersonAsync("A"), await PersonAsync("B"));
        Assert.Equal("merge_into_itself", (await PreviewAsync(a, a)).Code);
        await MergeAsync(a, b);
        Assert.Equal("merge_into_itself", (await PreviewAsync(a, b)).Code);
        var firm = await OkAsync(Api.PostAsync("v1/customers", """{"kind":"organization","name":"Acme","source":{"type":"enquiry"}}""", Ct));
        Assert.Equal((HttpStatusCode)422, (await PreviewAsync(a, (string)firm["id"]!)).Status);
        Assert.Equal("unknown_customer", (await PreviewAsync(a, "cus_00000000000000000000000000")).Code);
    }

    [Fact]
    public async Task Two_who_pay_in_one_source_are_not_merged()
    {
        var (a, b) = (await PersonAsync("A"), await PersonAsync("B"));
        await OkAsync(Api.PutAsync($"v1/customers/{a}/billing-accounts/stripe", """{"provider_customer_id":"acct_1","subscription":"none"}""", Ct));
        await OkAsync(Api.PutAsync($"v1/customers/{b}/billing-accounts/stripe", """{"subscription":"active"}""", Ct));
        var preview = await OkAsync(PreviewAsync(a, b));
        Assert.Equal("stripe", (string?)Assert.Single(preview["manifest"]!["blockers"]!.AsArray())!["source"]);
        var refused = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct);
        Assert.Equal((HttpStatusCode.Conflict, "two_paying_accounts"), (refused.Status, refused.Code));
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{b}", Ct)).Status);

        // The same preview serves once the account is closed.
        await OkAsync(Api.PutAsync($"v1/customers/{b}/billing-accounts/stripe", """{"subscription":"canceled"}""", Ct));
        await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
    }

    [Fact]
    public async Task A_preview_serves_once_and_only_while_its_records_are_unchanged()
    {
        var (a, b) = (await PersonAsync("A"), await PersonAsync("B"));
        var preview = await OkAsync(PreviewAsync(a, b));
        await OkAsync(Api.PatchAsync($"v1/customers/{b}", """{"department":"sales"}""", "*", Ct));
        Assert.Equal("preview_outdated", (await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same"}""", Ct)).Code);
        Assert.Equal("unknown_reference", (await Api.PostAsync("v1/merges", """{"token":"nonsense","reason":"Same"}""", Ct)).Code);

        var again = await OkAsync(PreviewAsync(a, b));
        var body = $$"""{"token":"{{again["token"]}}","reason":"Same"}""";
        var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Api.PostAsync("v1/merges", body, Ct)));
        Assert.All(answers, x => Assert.Equal(HttpStatusCode.Accepted, x.Status));
        Assert.Single(answers.Select(x => (string?)x["id"]).Distinct());
    }

    [Fact]
    public async Task Rows_that_other_services_gain_between_preview_and_merge_move_too_and_are_counted_in_the_receipts()
    {
        var (ada, augusta) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        // The first order makes a buyer of her, which outdates a preview; the next one changes nothing in her record.
        var first = await OrderAsync();
        await Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{augusta}", Ct), c => (string?)c["lifecycle"] == "active_buyer", TimeSpan.FromMinutes(1), Ct);
        var preview = await OkAsync(PreviewAsync(ada, augusta));
        Assert.Equal(
            ["billing-sync orders 1"],
            preview["manifest"]!["services"]!.AsArray().Where(s => (string?)s!["service"] is "billing-sync" or "support")
                .SelectMany(s => s!["rows"]!.AsArray().Where(r => (int)r!["moved"]! > 0).Select(r => $"{s["service"]} {r!["table"]} {r["moved"]}")));

        var second = await OrderAsync();
        var it = (string)(await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{augusta}}","type":"question","subject":"Between"}""", Ct)))["id"]!;
        var merge = await WaitAsync(await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct)), "completed");
        var moved = Counts(merge, "merge");
        Assert.Equal((2, 1), (moved["billing-sync.orders"], moved["support.cases"]));
        Assert.Equal([it], await IdsAsync("cases", ada));
        Assert.Equal(new[] { first, second }.Order(StringComparer.Ordinal), (await IdsAsync("orders", ada)).Order(StringComparer.Ordinal));

        // They were hers when they moved, so they are hers again.
        await UndoAsync((string)merge["id"]!);
        Assert.Equal([it], await IdsAsync("cases", augusta));
        Assert.Equal(2, (await IdsAsync("orders", augusta)).Count);
        Assert.Empty(await IdsAsync("orders", ada));

        async Task<string> OrderAsync() => (string)(await OkAsync(Api.PostAsync("v1/orders",
            $$$"""{"customer_id":"{{{augusta}}}","placed_at":"{{{DateTimeOffset.UtcNow.AddDays(-1):yyyy-MM-dd}}}T10:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}""", Ct)))["id"]!;

        async Task<List<string>> IdsAsync(string resource, string customer) =>
            [.. (await Api.CallAsync($"v1/{resource}?customer_id={customer}", Ct)).Data.Select(r => (string)r["id"]!)];
    }

    [Fact]
    public async Task A_merge_can_be_undone_for_ninety_days_and_then_no_more()
    {
        var (ada, augusta) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        var (grace, hopper) = (await PersonAsync("Grace"), await PersonAsync("Hopper"));
        var (inTime, late) = (await MergeAsync(ada, augusta), await MergeAsync(grace, hopper));
        Assert.Equal(TimeSpan.FromDays(90), (DateTimeOffset)inTime["undo_until"]! - (DateTimeOffset)inTime["merged_at"]!);
        await AgeAsync(inTime, "89 days");
        await AgeAsync(late, "90 days 1 minute");

        var expired = await Api.PostAsync($"v1/merges/{late["id"]}/undo", """{"reason":"Two persons"}""", Ct);
        Assert.Equal((HttpStatusCode.Conflict, "merge_undo_expired"), (expired.Status, expired.Code));
        Assert.Equal("completed", (string?)(await Api.CallAsync($"v1/merges/{late["id"]}", Ct))["status"]);
        Assert.Equal(HttpStatusCode.PermanentRedirect, (await Api.CallAsync($"v1/customers/{hopper}", Ct)).Status);

        await UndoAsync((string)inTime["id"]!);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{augusta}", Ct)).Status);

        async Task AgeAsync(JsonNode merge, string by)
        {
            await using var contacts = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("contacts"));
            await using var age = contacts.CreateCommand("UPDATE merges SET merged_at = merged_at - $2::interval WHERE id = $1");
            age.Parameters.AddWithValue(Ids.Merge.Parse((string)merge["id"]!));
            age.Parameters.AddWithValue(by);
            Assert.Equal(1, await age.ExecuteNonQueryAsync(Ct));
        }
    }

    [Fact]
    public async Task Of_two_merges_of_the_same_records_at_once_one_wins()
    {
        var (a, b) = (await PersonAsync("A"), await PersonAsync("B"));
        var previews = new[] { await OkAsync(PreviewAsync(a, b)), await OkAsync(PreviewAsync(b, a)) };
        var answers = await Task.WhenAll(previews.Select(p => Api.PostAsync("v1/merges", $$"""{"token":"{{p["token"]}}","reason":"Same"}""", Ct)));
        Assert.Equal([HttpStatusCode.Accepted, HttpStatusCode.Conflict], answers.Select(x => x.Status).Order());
        Assert.Equal("preview_outdated", answers.Single(x => x.Status == HttpStatusCode.Conflict).Code);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Merges_of_merges_are_undone_in_either_order(bool firstFirst)
    {
        var (a, b, c) = (await PersonAsync("A", phone: true), await PersonAsync("B", phone: true), await PersonAsync("C", phone: true));
        foreach (var customer in new[] { a, b, c })
        {
            await FillAsync(customer, cases: 1, invoices: 1, interactions: 1);
        }

        var before = new[] { await SnapshotAsync(a, 3), await SnapshotAsync(b, 3), await SnapshotAsync(c, 3) };
        var first = await MergeAsync(b, a);
        var second = await MergeAsync(c, b);
        var all = await SnapshotAsync(c, 9);
        Assert.Equal((3, 3, 3), (all.Cases.Count, all.Customer["emails"]!.AsArray().Count, all.Customer["phones"]!.AsArray().Count));
        Assert.Equal(new[] { a, b }.Order(StringComparer.Ordinal), all.Customer["merged_from"]!.AsArray().Select(m => (string)m!).Order(StringComparer.Ordinal));

        // An edit on whom stands for all three stays there.
        await OkAsync(Api.PatchAsync($"v1/customers/{c}", """{"locale":"de-AT"}""", "*", Ct));
        var undone = await UndoAsync((string)(firstFirst ? first : second)["id"]!);
        Assert.Single(undone["kept_edits"]!.AsArray());
        if (firstFirst)
        {
            AssertSame(before[0], await SnapshotAsync(a, 3));
            var two = await SnapshotAsync(c, 6);
            Assert.Equal((2, 2), (two.Cases.Count, two.Customer["emails"]!.AsArray().Count));
        }
        else
        {
            var two = await SnapshotAsync(b, 6);
            Assert.Equal((2, 2), (two.Cases.Count, two.Customer["emails"]!.AsArray().Count));
            Assert.Equal(HttpStatusCode.PermanentRedirect, (await Api.CallAsync($"v1/customers/{a}", Ct)).Status);
        }

        await UndoAsync((string)(firstFirst ? second : first)["id"]!);
        AssertSame(before[0], await SnapshotAsync(a, 3));
        AssertSame(before[1], await SnapshotAsync(b, 3));
        var last = await SnapshotAsync(c, 3);
        Assert.Equal("de-AT", (string?)last.Customer["locale"]);
        last.Customer["locale"] = null;
        AssertSame(before[2], last);
    }

    [Fact]
    public async Task Fields_survive_by_choice_then_by_the_survivor_then_by_the_latest_change()
    {
        var a = await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{Guid.NewGuid().ToString("n")}}}@example.com"}],"source":{"type":"enquiry"},"attributes":{"colour":"red"}}""", Ct));
        var b = await OkAsync(Api.PostAsync("v1/customers", """{"kind":"person","given_name":"Augusta","family_name":"King","birth_date":"1815-12-10","source":{"type":"enquiry"},"attributes":{"colour":"blue","size":3}}""", Ct));
        var c = await OkAsync(Api.PostAsync("v1/customers", """{"kind":"person","family_name":"Byron","source":{"type":"import"}}""", Ct));
        var ids = new[] { a, b, c }.Select(x => (string)x["id"]!).ToArray();
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews",
            $$"""{"customer_ids":["{{ids[0]}}","{{ids[1]}}","{{ids[2]}}"],"survivor_id":"{{ids[0]}}","choices":{"given_name":"{{ids[1]}}"} }""", Ct));
        var fields = preview["manifest"]!["fields"]!;
        Assert.Equal(
            ("Augusta chosen", "King source_rank", "1815-12-10 most_recent", "prospect survivor", "union"),
            (Of("given_name"), Of("family_name"), Of("birth_date"), Of("lifecycle"), (string?)fields["attributes"]!["rule"]));
        var merge = await WaitAsync(await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct)), "completed");
        var merged = await OkAsync(Api.CallAsync($"v1/customers/{ids[0]}", Ct));
        Assert.Equal(("Augusta", "King", "1815-12-10", "red", 3),
            ((string?)merged["given_name"], (string?)merged["family_name"], (string?)merged["birth_date"], (string?)merged["attributes"]!["colour"], (int)merged["attributes"]!["size"]!));
        await OkAsync(Api.PatchAsync($"v1/customers/{ids[0]}", """{"family_name":"Lovelace"}""", "*", Ct));
        var undone = await UndoAsync((string)merge["id"]!);
        Assert.Equal("family_name", (string?)Assert.Single(Assert.Single(undone["kept_edits"]!.AsArray())!["fields"]!.AsArray()));
        var alone = await OkAsync(Api.CallAsync($"v1/customers/{ids[0]}", Ct));
        Assert.Equal(("Ada", "Lovelace", null, 1), ((string?)alone["given_name"], (string?)alone["family_name"], (string?)alone["birth_date"], alone["attributes"]!.AsObject().Count));
        var restored = await OkAsync(Api.CallAsync($"v1/customers/{ids[1]}", Ct));
        Assert.Equal(("Augusta", "King", "blue"), ((string?)restored["given_name"], (string?)restored["family_name"], (string?)restored["attributes"]!["colour"]));

        string Of(string name) => $"{fields[name]!["value"]} {fields[name]!["rule"]}";
    }

    [Fact]
    public async Task A_merge_waits_visibly_for_a_service_that_is_away()
    {
        var (a, b) = (await PersonAsync("A"), await PersonAsync("B"));
        await FillAsync(b, cases: 2, invoices: 0, interactions: 0);
        await SnapshotAsync(b, 2);
        var preview = await OkAsync(PreviewAsync(a, b));
        await Fixture.Platform["support"].KillAsync();
        JsonNode waiting;
        try
        {
            var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same"}""", Ct));
            waiting = (await Eventually.GetAsync(
                () => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => m["missing"]!.AsArray().Count == 1, ct: Ct)).Body!;
            Assert.Equal(("running", "support"), ((string?)waiting["status"], (string?)waiting["missing"]![0]));
            Assert.NotNull(waiting["waiting_seconds"]);
            Assert.Contains((await Api.CallAsync("v1/merges?status=running", Ct)).Data, m => (string?)m["id"] == (string?)merge["id"]);
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        var done = await WaitAsync(waiting, "completed");
        Assert.Equal(2, Counts(done, "merge")["support.cases"]);
    }

    private sealed record Snapshot(JsonNode Customer, List<string> Cases, List<string> Invoices, List<string> Interactions, int TimelineCount, JsonNode Consents, JsonNode Account);

    private async Task<string> PersonAsync(string name, bool phone = false)
    {
        var number = Random.Shared.Next(10_000_000, 99_999_999).ToString(CultureInfo.InvariantCulture);
        var phones = phone ? $$"""[{"number":"+4420{{number}}"}]""" : "[]";
        var created = await OkAsync(Api.PostAsync("v1/customers", $$"""
            {"kind":"person","given_name":"{{name}}","family_name":"Byron","emails":[{"address":"{{Guid.NewGuid():n}}@example.com"}],"phones":{{phones}},
             "source":{"type":"enquiry"},"external_ids":[{"system":"shop","id":"{{Guid.NewGuid():n}}"}]}
            """, Ct));
        return (string)created["id"]!;
    }

    private async Task FillAsync(string customer, int cases, int invoices, int interactions)
    {
        for (var i = 0; i < cases; i++)
        {
            await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Case {{i}}"}""", Ct));
        }

        for (var i = 0; i < invoices; i++)
        {
            await OkAsync(Api.PostAsync("v1/invoices",
                $$"""{"customer_id":"{{customer}}","number":"R-{{i}}","issued_at":"2026-01-01T00:00:00Z","total":{"amount_minor":1000,"currency":"EUR"},"status":"open"}""", Ct));
        }

        for (var i = 0; i < interactions; i++)
        {
            await OkAsync(Api.PostAsync("v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z"}""", Ct));
        }
    }

    /// <summary>What every service says of a customer, once the timeline has so many entries.</summary>
    private async Task<Snapshot> SnapshotAsync(string customer, int timeline)
    {
        var entries = await Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{customer}/timeline?limit=100", Ct), t => t.Body?["data"]?.AsArray().Count == timeline, ct: Ct);
        var account = (await OkAsync(Api.CallAsync($"v1/customers/{customer}/account", Ct))).DeepClone();
        account.AsObject().Remove("as_of");
        return new(
            (await OkAsync(Api.CallAsync($"v1/customers/{customer}", Ct))).DeepClone(), await IdsAsync("cases"), await IdsAsync("invoices"), await IdsAsync("interactions"),
            entries.Data.Count, (await OkAsync(Api.CallAsync($"v1/customers/{customer}/consents", Ct))).DeepClone(), account);

        async Task<List<string>> IdsAsync(string resource) =>
            [.. (await Api.CallAsync($"v1/{resource}?customer_id={customer}&limit=100", Ct)).Data.Select(r => (string)r["id"]!)];
    }

    private static void AssertSame(Snapshot expected, Snapshot actual)
    {
        foreach (var customer in new[] { expected.Customer.AsObject(), actual.Customer.AsObject() })
        {
            customer.Remove("version");
            customer.Remove("updated_at");
        }

        Assert.Equal(expected.Customer.ToJsonString(), actual.Customer.ToJsonString());
        Assert.Equal(expected.Cases, actual.Cases);
        Assert.Equal(expected.Invoices, actual.Invoices);
        Assert.Equal(expected.Interactions, actual.Interactions);
        Assert.Equal(expected.Consents.ToJsonString(), actual.Consents.ToJsonString());
        Assert.Equal(expected.Account.ToJsonString(), actual.Account.ToJsonString());
    }

    private Task<JsonAnswer> PreviewAsync(string survivor, string absorbed) =>
        Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{survivor}}","{{absorbed}}"],"survivor_id":"{{survivor}}"}""", Ct);

    private async Task<JsonNode> MergeAsync(string survivor, string absorbed) => await WaitAsync(await Api.MergeAsync(survivor, absorbed, Ct), "completed");

    private async Task<JsonNode> UndoAsync(string merge) =>
        await WaitAsync(await Api.UndoAsync(merge, Ct), "undone");

    private Task<JsonNode> WaitAsync(JsonNode merge, string status) => Api.WaitForMergeAsync((string)merge["id"]!, status, Ct);

    private static SortedDictionary<string, long> Counts(JsonNode merge, string phase) => new(merge["receipts"]!.AsArray()
        .Where(r => (string?)r!["phase"] == phase)
        .SelectMany(r => r!["counts"]!.AsObject().Select(c => ($"{r["service"]}.{c.Key}", (long)c.Value!)))
        .ToDictionary(c => c.Item1, c => c.Item2), StringComparer.Ordinal);
}
