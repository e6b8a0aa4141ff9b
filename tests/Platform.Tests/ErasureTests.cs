using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Runner;
using Crm.Testing;
using Microsoft.IdentityModel.Tokens;
using Npgsql;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Erasure of persons through the public door, in all services, and the search that proves it.</summary>
public sealed class ErasureTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    private static readonly string[] Services = ["billing-sync", "campaigns", "contacts", "interactions", "support"];

    [Fact]
    public async Task An_erased_person_is_nowhere_any_more_although_a_service_was_away_and_events_come_late()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var phone = Random.Shared.Next(10_000_000, 99_999_999).ToString(CultureInfo.InvariantCulture);
        string[] values = [tag, phone];
        var living = await PersonAsync("Living");
        await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{living}}","type":"question","subject":"Mine"}""", Ct));
        var (ada, absorbed, merge) = await KnownEverywhereAsync(tag, phone, living);
        var before = (Customer: (await OkAsync(Api.CallAsync($"v1/customers/{living}", Ct))).ToJsonString(), Cases: (await Api.CallAsync($"v1/cases?customer_id={living}", Ct)).Data.Count);

        // The search sees: what it finds nowhere afterwards it finds here.
        var places = (await FindAsync(values)).Select(h => h.Place).ToList();
        Assert.Superset(
            new HashSet<string>([
                "contacts customers", "contacts customer_identifiers", "contacts external_ids", "contacts consents", "contacts audit_value", "contacts idempotency", "contacts import_results",
                "contacts merges", "contacts merge_previews", "contacts duplicate_overrides", "interactions customers", "interactions interactions", "interactions timeline",
                "interactions audit_value", "interactions dead_letter", "campaigns customers", "campaigns messages", "campaigns campaign_addresses", "billing-sync customers", "billing-sync orders",
                "billing-sync billing_accounts", "billing-sync audit_value", "support customers", "support cases", "support case_messages", "support audit_value", "support idempotency",
            ]),
            new HashSet<string>(places));

        await Fixture.Platform["support"].KillAsync();
        JsonNode erasure;
        try
        {
            Assert.Equal("precondition_required", (await EraseAsync(ada, null)).Code);
            Assert.Equal("stale_version", (await EraseAsync(ada, "\"1\"")).Code);
            var asked = await EraseAsync(ada, (await Api.CallAsync($"v1/customers/{ada}", Ct)).ETag);
            Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
            erasure = (await Eventually.GetAsync(() => Api.CallAsync($"v1/erasures/{asked["id"]}", Ct), e => e["missing"]!.AsArray().Count == 1, ct: Ct)).Body!;
            Assert.Equal(("running", "support"), ((string?)erasure["status"], (string?)erasure["missing"]![0]));
            Assert.NotNull(erasure["waiting_seconds"]);
            Assert.Contains((await Api.CallAsync("v1/erasures?status=running", Ct)).Data, e => (string?)e["id"] == (string?)erasure["id"]);
            Assert.Contains(await FindAsync(values), h => h.Place == "support cases");
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        var done = (await Eventually.GetAsync(() => Api.CallAsync($"v1/erasures/{erasure["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromSeconds(60), Ct)).Body!;
        Assert.Equal(Services, done["receipts"]!.AsArray().Select(r => (string)r!["service"]!));
        Assert.Equal(new[] { ada, absorbed }.Order(StringComparer.Ordinal), done["customer_ids"]!.AsArray().Select(i => (string)i!).Order(StringComparer.Ordinal));
        Assert.Equal((1, 1, 1, 1, 1), (Erased("support", "cases"), Erased("interactions", "interactions"), Erased("billing-sync", "orders"), Erased("campaigns", "campaign_addresses"), Erased("interactions", "dead_letter")));
        Assert.Equal(1, (int)Receipt("billing-sync")["kept"]!["invoices"]!);
        Assert.Equal(35, (int)Math.Round(((DateTimeOffset)done["backups_gone_by"]! - (DateTimeOffset)done["asked_at"]!).TotalDays));
        await NowhereAsync(values);

        await AnswersGoneAsync(ada, absorbed);
        Assert.Equal("merge_erased", (await Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Not the same"}""", Ct)).Code);
        await ReceiptsVerifyAsync(done);

        await PublishLateAsync(ada, tag);
        await NowhereAsync(values);
        Assert.Equal(0, await CountAsync("campaigns", "SELECT count(*) FROM orders WHERE customer_id = $1", ada));
        Assert.Equal(0, await CountAsync("interactions", "SELECT count(*) FROM timeline WHERE customer_id = $1", ada));

        Assert.Equal(before.Customer, (await OkAsync(Api.CallAsync($"v1/customers/{living}", Ct))).ToJsonString());
        Assert.Equal(before.Cases, (await Api.CallAsync($"v1/cases?customer_id={living}", Ct)).Data.Count);
        foreach (var service in Fixture.Platform.Services.Values)
        {
            var audit = await service.RunModeAsync(["--audit", "verify"], Ct);
            Assert.True(audit.ExitCode == 0 && audit.Output.StartsWith("whole:", StringComparison.Ordinal), $"{service.Name}: {audit.Output}");
        }

        JsonNode Receipt(string service) => done["receipts"]!.AsArray().Single(r => (string?)r!["service"] == service)!;

        int Erased(string service, string table) => (int)Receipt(service)["erased"]![table]!;
    }

    [Fact]
    public async Task An_export_has_all_that_every_service_knows_waits_visibly_for_one_that_is_away_and_ends_with_the_erasure()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var phone = Random.Shared.Next(10_000_000, 99_999_999).ToString(CultureInfo.InvariantCulture);
        var (ada, absorbed, _) = await KnownEverywhereAsync(tag, phone, await PersonAsync("Living"));
        await Fixture.Platform["support"].KillAsync();
        JsonNode export;
        try
        {
            export = await OkAsync(Api.PostAsync($"v1/customers/{ada}/exports", "{}", Ct));
            var waiting = await Eventually.GetAsync(() => Api.CallAsync($"v1/exports/{export["id"]}", Ct), e => e["missing"]!.AsArray().Count == 1, ct: Ct);
            Assert.Equal(("running", "support"), ((string?)waiting["status"], (string?)waiting["missing"]![0]));
            Assert.Equal("conflict", (await Api.CallAsync($"v1/exports/{export["id"]}/archive", Ct)).Code);
        }
        finally
        {
            await Fixture.Platform["support"].StartAsync(ct: Ct);
        }

        var done = await Eventually.GetAsync(() => Api.CallAsync($"v1/exports/{export["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromSeconds(60), Ct);
        Assert.Equal(Services, done["parts"]!.AsArray().Select(p => (string)p!["service"]!));
        var archive = await OkAsync(Api.CallAsync($"v1/exports/{export["id"]}/archive", Ct));
        foreach (var part in done["parts"]!.AsArray())
        {
            foreach (var (list, count) in part!["counts"]!.AsObject())
            {
                Assert.Equal((long)count!, archive["services"]![(string)part["service"]!]![list]!.AsArray().Count);
            }
        }

        Assert.Equal(new[] { ada, absorbed }.Order(StringComparer.Ordinal), List("contacts", "customers").Select(c => (string)c!["id"]!).Order(StringComparer.Ordinal));
        Assert.Equal(tag, (string?)Assert.Single(List("interactions", "interactions"))!["subject"]);
        Assert.Equal((absorbed, ada), ((string?)List("interactions", "interactions")[0]!["origin_customer_id"], (string?)List("support", "cases")[0]!["customer_id"]));
        Assert.Equal($"I am {tag}", (string?)Assert.Single(List("support", "case_messages"))!["body"]);
        Assert.Equal($"For {tag}", (string?)Assert.Single(List("billing-sync", "orders"))!["lines"]![0]!["description"]);
        Assert.Equal((1, 5, 2), (List("billing-sync", "invoices").Count, List("interactions", "timeline").Count, List("contacts", "consents").Count));
        Assert.Equal(["campaign", "confirmation"], List("campaigns", "messages").Select(m => (string)m!["kind"]!).Order(StringComparer.Ordinal));
        Assert.Contains(List("contacts", "history"), h => (string?)h!["changes"]?["family_name"]?["new"] == $"{tag} King");
        Assert.Equal((1, 2), (List("contacts", "import_rows").Count, List("contacts", "merges").Count));

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await Api.CallAsync($"v1/exports/{export["id"]}/archive", Ct)).Status);
        Assert.Equal("erased", (await Api.PostAsync($"v1/customers/{ada}/exports", "{}", Ct)).Code);
        await NowhereAsync([tag, phone]);

        JsonArray List(string service, string list) => archive["services"]![service]![list]!.AsArray();
    }

    [Fact]
    public async Task An_export_has_nothing_of_somebody_with_whom_the_person_was_one_until_an_undo()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var email = $"{tag}@example.com";
        var living = await PersonAsync("Living", ""","department":"sales" """);
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"{{{tag}}}","department":"sales","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        var opened = await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{ada}}","type":"question","subject":"First"}""", Ct));
        var merge = await MergeAsync(living, ada);
        await Eventually.GetAsync(() => Api.CallAsync($"v1/cases/{opened["id"]}", Ct), c => (string?)c["customer_id"] == living, ct: Ct);
        await OkAsync(Api.PatchAsync($"v1/cases/{opened["id"]}", $$"""{"subject":"Again {{tag}}"}""", "*", Ct));
        await ImportAsync($$$"""{"kind":"person","emails":[{"address":"{{{email}}}"}],"attributes":{"second":"x"}}""" + "\n" + """{"kind":"person","given_name":"X","locale":"no locale"}""");
        await OkAsync(Api.PostAsync($"v1/customers/{living}/consents", $$"""{"channel":"email","purpose":"marketing","state":"granted","source":"web_form","wording":"Hers"}""", Ct));
        using var asker = await OfSupportAsync();
        var asked = await asker.PatchAsync($"v1/customers/{living}", $$"""{"emails":[{"address":"{{email}}","type":"work"}]}""", "*", Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        await UndoAsync(merge);

        var archive = await ArchiveAsync(living);
        Assert.DoesNotContain(tag, archive.ToJsonString(), StringComparison.Ordinal);
        Assert.Superset(new HashSet<string>(["merged", "unmerged", "updated"]), Actions(archive, withChanges: false));
        Assert.Superset(new HashSet<string>(["created"]), Actions(archive, withChanges: true));
        Assert.Null(Assert.Single(archive["services"]!["contacts"]!["import_rows"]!.AsArray())!["before"]);
        Assert.Null(Assert.Single(archive["services"]!["contacts"]!["change_requests"]!.AsArray())!["wanted"]);
        Assert.Null(archive["services"]!["support"]!["cases"]);
        Assert.Null(archive["services"]!["support"]!["history"]);

        // The history of the case is that of whom it belongs to now, although it was changed as the other's.
        var hers = await ArchiveAsync(ada);
        Assert.Equal(["created", "updated"], hers["services"]!["support"]!["history"]!.AsArray().Select(h => (string?)h!["action"]));
        Assert.Equal($"Again {tag}", (string?)hers["services"]!["support"]!["history"]![1]!["changes"]!["subject"]!["new"]);

        static HashSet<string> Actions(JsonNode archive, bool withChanges) =>
            [.. archive["services"]!["contacts"]!["history"]!.AsArray().Where(h => withChanges == (h!["changes"] is not null)).Select(h => (string)h!["action"]!)];
    }

    [Fact]
    public async Task What_a_row_was_while_two_were_merged_outlives_the_other_one_and_goes_with_whose_it_is()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var (living, ada) = (await PersonAsync("Living"), await PersonAsync("Ada"));
        var logged = await LogAsync(ada, "First");
        var merge = await MergeAsync(living, ada);
        foreach (var subject in new[] { $"Again {tag}", "And again" })
        {
            await OkAsync(Api.PatchAsync($"v1/interactions/{logged}", $$"""{"subject":"{{subject}}"}""", "*", Ct));
        }

        await UndoAsync(merge);
        await ErasedAsync(living);
        Assert.Contains(await FindAsync([tag]), h => h.Place == "interactions audit_value");
        var hers = (await ArchiveAsync(ada))["services"]!["interactions"]!["history"]!.AsArray();
        Assert.Equal(["created", "updated", "updated"], hers.Select(h => (string?)h!["action"]));
        Assert.Equal($"Again {tag}", (string?)hers[1]!["changes"]!["subject"]!["new"]);

        await ErasedAsync(ada);
        await NowhereAsync([tag]);
        var audit = await Fixture.Platform["interactions"].RunModeAsync(["--audit", "verify"], Ct);
        Assert.True(audit.ExitCode == 0 && audit.Output.StartsWith("whole:", StringComparison.Ordinal), audit.Output);
    }

    [Fact]
    public async Task What_a_row_was_before_it_was_given_to_somebody_else_is_told_and_forgotten_with_whose_it_was()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var (first, second, living) = (await PersonAsync("First"), await PersonAsync("Second"), await PersonAsync("Living"));
        var logged = await LogAsync(first, tag);
        // Given away while merged into somebody, under whom that is filed.
        var merge = await MergeAsync(living, first);
        await OkAsync(Api.PatchAsync($"v1/interactions/{logged}", $$"""{"customer_id":"{{second}}","subject":"Hers"}""", "*", Ct));
        await UndoAsync(merge);

        var was = (await HistoryAsync(first))!;
        Assert.Equal(["created", "updated"], was.Select(h => (string?)h!["action"]));
        Assert.Equal((tag, (string?)null), ((string?)was[1]!["changes"]!["subject"]!["old"], (string?)was[1]!["changes"]!["subject"]!["new"]));
        var becomes = Assert.Single((await HistoryAsync(second))!)!;
        Assert.Equal(((string?)null, "Hers"), ((string?)becomes["changes"]!["subject"]!["old"], (string?)becomes["changes"]!["subject"]!["new"]));
        Assert.DoesNotContain(Ids.Customer.Parse(first).ToString(), becomes.ToJsonString(), StringComparison.Ordinal);
        Assert.Null(await HistoryAsync(living));

        await ErasedAsync(living);
        Assert.Contains(await FindAsync([tag]), h => h.Place == "interactions audit_value");
        await ErasedAsync(first);
        await NowhereAsync([tag]);
        Assert.Equal("Hers", (string?)(await OkAsync(Api.CallAsync($"v1/interactions/{logged}", Ct)))["subject"]);
        Assert.Single((await HistoryAsync(second))!);

        async Task<JsonArray?> HistoryAsync(string customer) => (await ArchiveAsync(customer))["services"]!["interactions"]!["history"]?.AsArray();
    }

    [Fact]
    public async Task What_a_relationship_was_that_was_taken_back_while_two_were_merged_is_forgotten_with_whose_it_was()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var (living, ada, other) = (await PersonAsync("Living"), await PersonAsync("Ada"), await PersonAsync("Other"));
        var relationship = await OkAsync(Api.PostAsync(
            $"v1/customers/{ada}/relationships", $$"""{"type":"buying_group","to_id":"{{other}}","role":"payer","purchase":"{{tag}}"}""", Ct));
        var merge = await MergeAsync(living, ada);
        var deleted = await Api.CallAsync(HttpMethod.Delete, $"v1/relationships/{relationship["id"]}", headers: [("If-Match", "*")], ct: Ct);
        Assert.True(deleted.Status == HttpStatusCode.NoContent, deleted.ToString());
        await UndoAsync(merge);

        await ErasedAsync(ada);
        await NowhereAsync([tag]);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{living}", Ct)).Status);
    }

    [Fact]
    public async Task A_legal_hold_forbids_the_erasure_until_it_is_lifted_also_one_of_an_absorbed_record()
    {
        var (ada, other) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        var hold = await OkAsync(Api.PostAsync($"v1/customers/{other}/legal-holds", """{"reason":"Lawsuit 7 C 12/26"}""", Ct));
        await MergeAsync(ada, other);
        var refused = await EraseAsync(ada, "*");
        Assert.Equal((HttpStatusCode.Conflict, "legal_hold"), (refused.Status, refused.Code));
        Assert.Contains("Lawsuit 7 C 12/26", (string?)refused["detail"], StringComparison.Ordinal);
        Assert.Equal((string?)hold["id"], (string?)Assert.Single(refused["holds"]!.AsArray())!["id"]);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{ada}", Ct)).Status);

        var lifted = await OkAsync(Api.PostAsync($"v1/customers/{ada}/legal-holds/{hold["id"]}/lift", """{"reason":"Settled"}""", Ct));
        Assert.NotNull(lifted["lifted_at"]);
        Assert.Equal("conflict", (await Api.PostAsync($"v1/customers/{ada}/legal-holds/{hold["id"]}/lift", """{"reason":"Again"}""", Ct)).Code);
        Assert.Single((await Api.CallAsync($"v1/customers/{ada}/legal-holds", Ct)).Data);
        Assert.Equal(2, await CountAsync("contacts", "SELECT count(*) FROM audit_entry WHERE record_type = 'legal_hold' AND customer_id = $1", other));
        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        Assert.Equal("erased", (await Api.PostAsync($"v1/customers/{ada}/legal-holds", """{"reason":"Too late"}""", Ct)).Code);
    }

    [Fact]
    public async Task A_legal_hold_set_while_two_are_merged_binds_both_after_the_undo_until_it_is_lifted_at_each()
    {
        var (ada, other) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        await OkAsync(Api.PostAsync($"v1/customers/{ada}/legal-holds", """{"reason":"Before"}""", Ct));
        var merge = await MergeAsync(ada, other);
        var hold = await OkAsync(Api.PostAsync($"v1/customers/{other}/legal-holds", """{"reason":"Lawsuit about Augusta"}""", Ct));
        var settled = await OkAsync(Api.PostAsync($"v1/customers/{other}/legal-holds", """{"reason":"Over by then"}""", Ct));
        await OkAsync(Api.PostAsync($"v1/customers/{ada}/legal-holds/{settled["id"]}/lift", """{"reason":"Settled"}""", Ct));

        var undone = await OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", Ct));
        var listed = Assert.Single(undone["carried_holds"]!.AsArray())!;
        Assert.Equal((other, (string?)hold["id"]), ((string?)listed["customer_id"], (string?)listed["carried_from"]));
        var carried = Assert.Single((await Api.CallAsync($"v1/customers/{other}/legal-holds", Ct)).Data)!;
        Assert.Equal(
            ("Lawsuit about Augusta", (string?)listed["hold_id"], (string?)hold["id"]),
            ((string?)carried["reason"], (string?)carried["id"], (string?)carried["carried_from"]));
        Assert.Equal(3, (await Api.CallAsync($"v1/customers/{ada}/legal-holds", Ct)).Data.Count);
        Assert.Equal("legal_hold", (await EraseAsync(ada, "*")).Code);
        Assert.Equal("legal_hold", (await EraseAsync(other, "*")).Code);

        await OkAsync(Api.PostAsync($"v1/customers/{other}/legal-holds/{carried["id"]}/lift", """{"reason":"Not her"}""", Ct));
        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(other, "*")).Status);
        Assert.Equal("legal_hold", (await EraseAsync(ada, "*")).Code);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Why_somebody_was_created_although_suspected_is_forgotten_with_either_of_the_two(bool eraseForced)
    {
        var (tag, email) = ($"zq{Guid.NewGuid():n}"[..14], $"{Guid.NewGuid():n}@example.com");
        var body = $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""";
        var known = (string)(await OkAsync(Api.PostAsync("v1/customers", body, Ct)))["id"]!;
        var forced = (string)(await OkAsync(Api.PostAsync($"v1/customers?allow_duplicate=true&reason={tag}", body, Ct)))["id"]!;
        Assert.Superset(new HashSet<string>(["contacts audit_value", "contacts duplicate_overrides"]), (await FindAsync([tag])).Select(h => h.Place).ToHashSet());

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(eraseForced ? forced : known, "*")).Status);
        await NowhereAsync([tag]);
        Assert.Equal(1, await CountAsync("contacts", "SELECT count(*) FROM audit_entry WHERE record_type = 'duplicate_override' AND record_id = $1", forced));
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{(eraseForced ? known : forced)}", Ct)).Status);
    }

    [Fact]
    public async Task What_an_import_changed_while_the_erased_were_merged_into_somebody_is_forgotten_and_its_undo_leaves_it()
    {
        var address = $"zq{Guid.NewGuid():n}@example.com";
        var living = await PersonAsync("Living");
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        var merge = await MergeAsync(living, ada);
        var import = await ImportAsync($$$"""{"kind":"person","emails":[{"address":"{{{address}}}"}],"attributes":{"second":"x"}}""" + "\n" + """{"kind":"person","given_name":"X","locale":"no locale"}""");
        await UndoAsync(merge);
        Assert.Contains(await FindAsync([address]), h => h.Place == "contacts import_results");

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([address]);
        await OkAsync(Api.PostAsync($"{import}/undo", "{}", Ct));
        var undone = (await Eventually.GetAsync(() => Api.CallAsync(import, Ct), i => (string?)i["status"] == "undone", ct: Ct)).Body!;
        Assert.Equal((0, 1), ((int)undone["undo"]!["restored"]!, (int)undone["undo"]!["refused"]!));
        Assert.Equal("x", (string?)(await OkAsync(Api.CallAsync($"v1/customers/{living}", Ct)))["attributes"]!["second"]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_somebody_had_of_the_erased_over_a_merge_of_another_one_is_forgotten_and_in_no_export(bool innerFirst)
    {
        const string OfSales = ""","department":"sales" """;
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var email = $"{tag}@example.com";
        var (outer, middle) = (await PersonAsync("Outer", OfSales), await PersonAsync("Middle", OfSales));
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"{{{tag}}}","department":"sales","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        var inner = await MergeAsync(middle, ada);
        var over = await MergeAsync(outer, middle);
        await ImportAsync($$$"""{"kind":"person","emails":[{"address":"{{{email}}}"}],"attributes":{"second":"x"}}""" + "\n" + """{"kind":"person","given_name":"X","locale":"no locale"}""");
        using var asker = await OfSupportAsync();
        var asked = await asker.PatchAsync($"v1/customers/{outer}", $$"""{"emails":[{"address":"{{email}}","type":"work"}]}""", "*", Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        await UndoAsync(innerFirst ? inner : over);
        if (!innerFirst)
        {
            await UndoAsync(inner);
        }

        Assert.Superset(new HashSet<string>(["contacts audit_value", "contacts change_requests", "contacts import_results", "contacts merges", "contacts merge_previews"]), (await FindAsync([tag])).Select(h => h.Place).ToHashSet());
        var archive = await ArchiveAsync(outer);
        Assert.DoesNotContain(tag, archive.ToJsonString(), StringComparison.Ordinal);
        Assert.Null(Assert.Single(archive["services"]!["contacts"]!["import_rows"]!.AsArray())!["before"]);

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([tag]);
        // What was merged without the erased can be taken apart still.
        if (innerFirst)
        {
            await UndoAsync(over);
        }

        foreach (var (customer, name) in new[] { (outer, "Outer"), (middle, "Middle") })
        {
            Assert.Equal(name, (string?)(await OkAsync(Api.CallAsync($"v1/customers/{customer}", Ct)))["given_name"]);
        }

        Assert.Contains((await Api.CallAsync($"v1/customers/{outer}/history", Ct)).Data, e => (string?)e["action"] == "created" && e["changes"] is not null);
    }

    [Theory]
    [InlineData("reject")]
    [InlineData("ignore")]
    [InlineData("accept")]
    public async Task Why_a_pair_was_decided_is_forgotten_with_either_of_the_two(string decision)
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var twins = await TwinsAsync(2);
        var (known, forced) = (twins[0], twins[1]);
        var pair = Assert.Single((await Api.CallAsync($"v1/duplicates?customer_id={forced}", Ct)).Data);
        var decided = await OkAsync(PostOnceAsync($"v1/duplicates/{pair["id"]}/{decision}", $$"""{"reason":"{{tag}} is her mother"}"""));
        if (decision == "accept")
        {
            await UndoAsync((string)decided["id"]!);
        }

        // An undo decides the pair anew, with its own reason.
        var place = decision == "accept" ? "contacts merges" : "contacts duplicates";
        Assert.Superset(new HashSet<string>(["contacts audit_value", place, "contacts idempotency"]), (await FindAsync([tag])).Select(h => h.Place).ToHashSet());
        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(forced, "*")).Status);
        await NowhereAsync([tag]);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{known}", Ct)).Status);
    }

    [Fact]
    public async Task Why_three_were_merged_and_parted_again_is_forgotten_of_the_pair_of_the_other_two_as_well()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var members = await TwinsAsync(3);
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{members[1]}}","{{members[2]}}"],"survivor_id":"{{members[0]}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"All are {{tag}}"}""", Ct));
        await UndoAsync((string)merge["id"]!, $"None is {tag}");
        Assert.Equal(2, (await PairsAsync()).Count(p => (string?)p["reason"] == $"None is {tag}"));

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(members[2], "*")).Status);
        await NowhereAsync([tag]);
        Assert.Null(Assert.Single(await PairsAsync())["reason"]);

        async Task<IReadOnlyList<JsonNode>> PairsAsync() => (await Api.CallAsync($"v1/duplicates?status=ignored&customer_id={members[0]}", Ct)).Data;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_blocked_value_is_forgotten_with_the_last_who_had_it_also_when_it_counts_again_or_is_a_former_one(bool former)
    {
        var (own, shared) = ($"Zq{Guid.NewGuid():n}@example.com", $"zq{Guid.NewGuid():n}@example.com");
        var phone = Random.Shared.Next(10_000_000, 99_999_999).ToString(CultureInfo.InvariantCulture);
        await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Living","emails":[{"address":"{{{shared}}}"}],"source":{"type":"enquiry"}}""", Ct));
        var ada = (string)(await OkAsync(Api.PostAsync("v1/customers?allow_duplicate=true&reason=Colleagues", $$$"""
            {"kind":"person","given_name":"Ada","emails":[{"address":"{{{own}}}"},{"address":"{{{shared}}}"}],"phones":[{"number":"+4420{{{phone}}}"}],"source":{"type":"enquiry"}}
            """, Ct)))["id"]!;
        if (former)
        {
            await OkAsync(Api.PatchAsync($"v1/customers/{ada}", $$"""{"emails":[{"address":"{{Guid.NewGuid().ToString("n")}}@example.com"}],"phones":[]}""", "*", Ct));
        }

        await BlockAsync("email", own);
        var kept = await BlockAsync("email", shared);
        var again = await BlockAsync("phone", $"+4420{phone}");
        Assert.Equal(HttpStatusCode.NoContent, (await Api.CallAsync(HttpMethod.Delete, $"v1/blocked-identifiers/{again}", ct: Ct)).Status);

        Assert.Superset(new HashSet<string>(["contacts audit_value", "contacts blocked_identifiers", "contacts idempotency"]), (await FindAsync([own])).Select(h => h.Place).ToHashSet());
        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([own, phone]);
        Assert.Equal(shared, (string?)(await OkAsync(Api.CallAsync($"v1/blocked-identifiers/{kept}", Ct)))["value"]);

        async Task<string> BlockAsync(string kind, string value) =>
            (string)(await OkAsync(PostOnceAsync("v1/blocked-identifiers", $$"""{"kind":"{{kind}}","value":"{{value}}","reason":"An office"}""")))["id"]!;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_somebody_was_to_the_erased_is_forgotten_also_when_that_was_taken_back(bool takenBack)
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var (living, ada) = (await PersonAsync("Living"), await PersonAsync(tag));
        var relationship = await OkAsync(Api.PostAsync(
            $"v1/customers/{living}/relationships", $$"""{"type":"buying_group","to_id":"{{ada}}","role":"payer","purchase":"Offer 17"}""", Ct));
        await OkAsync(Api.PatchAsync($"v1/relationships/{relationship["id"]}", """{"role":"influencer"}""", "*", Ct));
        if (takenBack)
        {
            var deleted = await Api.CallAsync(HttpMethod.Delete, $"v1/relationships/{relationship["id"]}", headers: [("If-Match", "*")], ct: Ct);
            Assert.True(deleted.Status == HttpStatusCode.NoContent, deleted.ToString());
            Assert.Equal(1, await CountAsync("contacts", """
                SELECT count(*) FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id
                WHERE e.record_type = 'relationship' AND e.action = 'deleted' AND v.changes::jsonb #>> '{to_id,old}' = $1::text AND v.changes::jsonb #>> '{role,old}' = 'influencer'
                """, ada));
        }

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([tag]);
        var told = await CountAsync("contacts", """
            SELECT count(*) FROM audit_entry e JOIN audit_value v ON v.entry_id = e.id WHERE e.record_type = 'relationship' AND e.customer_id = $1
            """, living);
        Assert.Equal(takenBack ? 3 : 0, told);
    }

    [Fact]
    public async Task A_preview_of_a_merge_that_an_erasure_overtakes_is_not_kept()
    {
        var (ada, other) = (await PersonAsync("Ada"), await PersonAsync("Augusta"));
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("contacts"));
        await using var connection = await database.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await using (var hold = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('customer ' || $1, 0))", connection, transaction))
        {
            hold.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.Parse(ada) });
            await hold.ExecuteNonQueryAsync(Ct);
        }

        var erasure = EraseAsync(ada, "*");
        await WaitingAsync(1);
        var preview = Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{ada}}"],"survivor_id":"{{other}}"}""", Ct);
        await WaitingAsync(2);
        await transaction.RollbackAsync(Ct);
        Assert.Equal(HttpStatusCode.Accepted, (await erasure).Status);
        var overtaken = await preview;
        Assert.Equal((HttpStatusCode.Conflict, "preview_outdated"), (overtaken.Status, overtaken.Code));
        Assert.Equal(0, await CountAsync("contacts", "SELECT count(*) FROM merge_previews WHERE strpos(members::text, $1::text) > 0", ada));

        Task WaitingAsync(int requests) => Eventually.GetAsync(() => CountAsync("contacts", """
            SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('customer ' || $1, 0)
            """, ada), n => n == requests, ct: Ct);
    }

    [Fact]
    public async Task A_change_asked_for_while_the_erased_were_merged_into_somebody_is_forgotten_and_one_asked_for_afterwards_stays()
    {
        var address = $"zq{Guid.NewGuid():n}@example.com";
        var living = await PersonAsync("Living", ""","department":"sales" """);
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Ada","department":"sales","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        using var asker = await OfSupportAsync();
        var merge = await MergeAsync(living, ada);
        var asked = await AskAsync($$"""{"emails":[{"address":"{{address}}","type":"work"}]}""");
        Assert.Contains(address, asked.ToJsonString(), StringComparison.Ordinal);
        await OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge}", Ct), m => (string?)m["status"] == "undone", ct: Ct);
        var later = await AskAsync("""{"locale":"en-GB"}""");

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await asker.CallAsync($"v1/change-requests/{asked["id"]}", Ct)).Status);
        Assert.Equal("pending", (string?)(await OkAsync(asker.CallAsync($"v1/change-requests/{later["id"]}", Ct)))["status"]);
        await NowhereAsync([address]);

        async Task<JsonNode> AskAsync(string patch)
        {
            var answer = await asker.PatchAsync($"v1/customers/{living}", patch, "*", Ct);
            Assert.True(answer.Status == HttpStatusCode.Accepted, answer.ToString());
            return answer.Body!;
        }
    }

    [Fact]
    public async Task Why_a_change_was_rejected_while_the_erased_were_merged_into_somebody_is_in_no_export_and_forgotten()
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        const string OfSales = ""","department":"sales" """;
        var (living, ada) = (await PersonAsync("Living", OfSales), await PersonAsync("Ada", OfSales));
        using var asker = await OfSupportAsync();
        var asked = await asker.PatchAsync($"v1/customers/{living}", """{"locale":"en-GB"}""", "*", Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        var merge = await MergeAsync(living, ada);
        var rejected = await OkAsync(PostOnceAsync($"v1/change-requests/{asked["id"]}/reject", $$"""{"reason":"Ada is {{tag}}"}"""));
        Assert.Equal($"Ada is {tag}", (string?)rejected["reason"]);
        await UndoAsync(merge);
        Assert.Superset(new HashSet<string>(["contacts audit_value", "contacts change_requests", "contacts idempotency"]), (await FindAsync([tag])).Select(h => h.Place).ToHashSet());

        var archive = await ArchiveAsync(living);
        Assert.DoesNotContain(tag, archive.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal("en-GB", (string?)Assert.Single(archive["services"]!["contacts"]!["change_requests"]!.AsArray())!["wanted"]!["locale"]);

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([tag]);
        var kept = await OkAsync(asker.CallAsync($"v1/change-requests/{asked["id"]}", Ct));
        Assert.Equal(("rejected", null, "en-GB"), ((string?)kept["status"], (string?)kept["reason"], (string?)kept["changes"]![0]!["new"]));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Why_a_relationship_with_the_erased_was_not_to_be_is_in_their_export_and_forgotten_with_them(bool ofOneThatWas, bool takenBack)
    {
        var tag = $"zq{Guid.NewGuid():n}"[..14];
        var (living, ada) = (await PersonAsync("Living", ""","department":"sales" """), await PersonAsync("Ada"));
        using var asker = await OfSupportAsync();
        var (path, body) = ($"v1/customers/{living}/relationships", $$"""{"type":"buying_group","to_id":"{{ada}}","role":"payer","purchase":"Offer 17"}""");
        var relationship = ofOneThatWas ? $"v1/relationships/{(await OkAsync(Api.PostAsync(path, body, Ct)))["id"]}" : null;
        var asked = relationship is null ? await asker.PostAsync(path, body, Ct) : await asker.PatchAsync(relationship, """{"role":"influencer"}""", "*", Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        var request = $"v1/change-requests/{asked["id"]}";
        await OkAsync(PostOnceAsync($"{request}/reject", $$"""{"reason":"Ada is {{tag}}"}"""));
        if (takenBack)
        {
            var deleted = await Api.CallAsync(HttpMethod.Delete, relationship!, headers: [("If-Match", "*")], ct: Ct);
            Assert.True(deleted.Status == HttpStatusCode.NoContent, deleted.ToString());
        }

        var archive = await ArchiveAsync(ada);
        Assert.Equal($"Ada is {tag}", (string?)Assert.Single(archive["services"]!["contacts"]!["change_requests"]!.AsArray())!["reason"]);

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([tag]);
        Assert.Equal(HttpStatusCode.NotFound, (await asker.CallAsync(request, Ct)).Status);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{living}", Ct)).Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_mailbox_of_a_confirmation_asked_for_while_two_were_merged_is_forgotten_with_whose_it_is_or_was(bool former)
    {
        const string Mailboxes = "SELECT count(*) FROM consent_confirmations WHERE mailbox = $1";
        const string Mails = "SELECT count(*) FROM messages WHERE to_address = $1";
        const string Asked = """{"channel":"email","purpose":"surveys","state":"pending","source":"web_form","double_opt_in":true}""";
        var address = $"zq{Guid.NewGuid():n}@example.com";
        var like = $"jo.{address}";
        var living = await PersonAsync("Living");
        var other = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Other","emails":[{"address":"{{{like}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        await OkAsync(Api.PostAsync($"v1/customers/{other}/consents", Asked, Ct));
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        var preview = await OkAsync(Api.PostAsync(
            "v1/merge-previews", $$$"""{"customer_ids":["{{{ada}}}"],"survivor_id":"{{{living}}}","choices":{"emails":"{{{ada}}}"}}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        await OkAsync(Api.PostAsync($"v1/customers/{living}/consents", Asked, Ct));
        Assert.Equal(1, await CountTextAsync("contacts", Mailboxes, address));
        foreach (var asked in new[] { address, like })
        {
            await Eventually.GetAsync(() => CountTextAsync("campaigns", Mails, asked), n => n == 1, ct: Ct);
        }

        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => (string?)m["status"] == "undone", ct: Ct);
        if (former)
        {
            await OkAsync(Api.PatchAsync($"v1/customers/{ada}", $$"""{"emails":[{"address":"{{Guid.NewGuid().ToString("n")}}@example.com"}]}""", "*", Ct));
        }

        await ErasedAsync(ada);
        Assert.Equal((0L, 0L), (await CountTextAsync("contacts", Mailboxes, address), await CountTextAsync("campaigns", Mails, address)));
        Assert.Equal((1L, 1L), (await CountTextAsync("contacts", Mailboxes, like), await CountTextAsync("campaigns", Mails, like)));
        Assert.Equal(1, await CountAsync("contacts", "SELECT count(*) FROM consent_confirmations WHERE customer_id = $1", living));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_dry_run_or_a_change_request_has_of_a_former_address_is_forgotten_unless_somebody_else_has_it_now(bool passedOn)
    {
        const string Drafts = "SELECT count(*) FROM import_drafts WHERE customer #>> '{emails,0,address}' = $1";
        var address = $"zq{Guid.NewGuid():n}@example.com";
        var like = $"jo.{address}";
        var living = await PersonAsync("Living", ""","department":"sales" """);
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        await OkAsync(Api.PatchAsync($"v1/customers/{ada}", $$"""{"emails":[{"address":"{{Guid.NewGuid().ToString("n")}}@example.com"}]}""", "*", Ct));
        if (passedOn)
        {
            await OkAsync(Api.PostAsync("v1/customers", $$$"""{"kind":"person","given_name":"Bob","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct));
        }

        using var asker = await OfSupportAsync();
        var (theirs, likewise) = (await AskAsync(address), await AskAsync(like));
        var import = Guid.CreateVersion7();
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync("contacts"));
        await using (var draft = database.CreateCommand("""
            INSERT INTO import_drafts (import_id, draft_id, customer)
            SELECT $1, gen_random_uuid(), jsonb_build_object('emails', jsonb_build_array(jsonb_build_object('address', a.address))) FROM unnest($2) AS a (address)
            """))
        {
            draft.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = import });
            draft.Parameters.Add(new NpgsqlParameter<string[]> { TypedValue = [address, like] });
            await draft.ExecuteNonQueryAsync(Ct);
        }

        try
        {
            await ErasedAsync(ada);
            Assert.Equal((passedOn ? 1L : 0L, 1L), (await CountTextAsync("contacts", Drafts, address), await CountTextAsync("contacts", Drafts, like)));
            Assert.Equal(passedOn ? HttpStatusCode.OK : HttpStatusCode.NotFound, (await asker.CallAsync(theirs, Ct)).Status);
            Assert.Equal(HttpStatusCode.OK, (await asker.CallAsync(likewise, Ct)).Status);
        }
        finally
        {
            await using var clear = database.CreateCommand("DELETE FROM import_drafts WHERE import_id = $1");
            clear.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = import });
            await clear.ExecuteNonQueryAsync(Ct);
        }

        async Task<string> AskAsync(string wanted)
        {
            var answer = await asker.PatchAsync($"v1/customers/{living}", $$"""{"emails":[{"address":"{{wanted}}","type":"work"}]}""", "*", Ct);
            Assert.True(answer.Status == HttpStatusCode.Accepted, answer.ToString());
            return $"v1/change-requests/{answer["id"]}";
        }
    }

    [Fact]
    public async Task What_became_of_a_billing_account_while_its_customer_was_merged_is_forgotten_with_that_customer()
    {
        var (living, ada, provider) = (await PersonAsync("Living"), await PersonAsync("Ada"), $"zq{Guid.NewGuid():n}");
        await OkAsync(Api.PutAsync($"v1/customers/{ada}/billing-accounts/stripe", """{"subscription":"none"}""", Ct));
        var merge = await MergeAsync(living, ada);
        await OkAsync(Api.PutAsync($"v1/customers/{ada}/billing-accounts/stripe", $$"""{"provider_customer_id":"{{provider}}","subscription":"none"}""", Ct));
        await OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge}", Ct), m => (string?)m["status"] == "undone", ct: Ct);
        Assert.Contains(await FindAsync([provider]), h => h.Place == "billing-sync audit_value");

        Assert.Equal(HttpStatusCode.Accepted, (await EraseAsync(ada, "*")).Status);
        await NowhereAsync([provider]);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{living}", Ct)).Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_address_of_the_erased_in_the_records_of_somebody_else_is_nowhere_any_more_and_the_records_are(bool former)
    {
        var address = $"zq{Guid.NewGuid():n}@example.com";
        var living = await PersonAsync("Living");
        var ada = (string)(await OkAsync(Api.PostAsync(
            "v1/customers", $$$"""{"kind":"person","given_name":"Ada","emails":[{"address":"{{{address}}}"}],"source":{"type":"enquiry"}}""", Ct)))["id"]!;
        var opened = await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{living}}","type":"question","subject":"Mine"}""", Ct));
        await OkAsync(PostOnceAsync($"v1/cases/{opened["id"]}/messages", $$"""{"direction":"inbound","body":"For him","author":"Ada King <{{address}}>"}"""));
        var logged = (string)(await OkAsync(PostOnceAsync("v1/interactions", $$"""
            {"customer_id":"{{living}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z","subject":"With her","participants":["{{address}}","Bob"]}
            """)))["id"]!;
        if (former)
        {
            await OkAsync(Api.PatchAsync($"v1/customers/{ada}", $$"""{"emails":[{"address":"{{Guid.NewGuid().ToString("n")}}@example.com"}]}""", "*", Ct));
        }

        Assert.Superset(
            new HashSet<string>(["support case_messages", "support idempotency", "interactions interactions", "interactions audit_value", "interactions idempotency"]),
            (await FindAsync([address])).Select(h => h.Place).ToHashSet());
        await ErasedAsync(ada);
        await NowhereAsync([address]);

        var message = Assert.Single((await OkAsync(Api.CallAsync($"v1/cases/{opened["id"]}", Ct)))["messages"]!.AsArray())!;
        Assert.Equal(("For him", null), ((string?)message["body"], (string?)message["author"]));
        var interaction = await OkAsync(Api.CallAsync($"v1/interactions/{logged}", Ct));
        Assert.Equal(("With her", "Bob"), ((string?)interaction["subject"], (string?)Assert.Single(interaction["participants"]!.AsArray())));
        // The chain of the history is whole without the values.
        var audit = await Fixture.Platform["interactions"].RunModeAsync(["--audit", "verify"], Ct);
        Assert.True(audit.ExitCode == 0 && audit.Output.StartsWith("whole:", StringComparison.Ordinal), audit.Output);
    }

    /// <summary>A person whom every service knows, in every table that can have personal data, with the tag in each.</summary>
    private async Task<(string Survivor, string Absorbed, string Merge)> KnownEverywhereAsync(string tag, string phone, string living)
    {
        var email = $"{tag}@example.com";
        var batch = $"b{Guid.NewGuid():n}";
        var ada = (string)(await OkAsync(PostOnceAsync("v1/customers", $$$"""
            {"kind":"person","given_name":"{{{tag}}}","family_name":"Byron","emails":[{"address":"{{{email}}}"}],"phones":[{"number":"+4420{{{phone}}}"}],"addresses":[{"lines":["1 {{{tag}}} Street"]}],
             "source":{"type":"enquiry","detail":"{{{tag}}}"},"external_ids":[{"system":"shop","id":"{{{tag}}}"}],"attributes":{"note":"{{{tag}}}","batch":"{{{batch}}}"}}
            """)))["id"]!;
        await OkAsync(Api.PatchAsync($"v1/customers/{ada}", $$"""{"family_name":"{{tag}} King"}""", "*", Ct));
        await ImportAsync($$$"""{"kind":"person","emails":[{"address":"{{{email}}}"}],"attributes":{"second":"{{{tag}}}"}}""" + "\n" + $$"""{"kind":"person","given_name":"{{tag}}","locale":"no locale"}""");
        await OkAsync(Api.PostAsync($"v1/customers/{ada}/consents", """{"channel":"email","purpose":"marketing","state":"granted","source":"web_form"}""", Ct));
        await OkAsync(Api.PostAsync($"v1/customers/{ada}/consents", $$"""{"channel":"email","purpose":"surveys","state":"pending","source":"web_form","double_opt_in":true,"wording":"{{tag}}"}""", Ct));

        // Once merged into somebody who lives on, and taken back.
        var absorbed = (string)(await OkAsync(Api.PostAsync($"v1/customers?allow_duplicate=true&reason={tag}", $$$"""
            {"kind":"person","given_name":"{{{tag}}}","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"},"external_ids":[{"system":"crm","id":"{{{tag}}}"}]}
            """, Ct)))["id"]!;
        var undone = await MergeAsync(living, absorbed);
        await OkAsync(Api.PostAsync($"v1/merges/{undone}/undo", $$"""{"reason":"{{tag}} is not the same"}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{undone}", Ct), m => (string?)m["status"] == "undone", ct: Ct);

        await OkAsync(Api.PostAsync("v1/interactions", $$"""{"customer_id":"{{absorbed}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z","subject":"{{tag}}","body":"About {{tag}}"}""", Ct));
        var order = await OkAsync(Api.PutAsync($"v1/orders/by-external-id/shop/{Guid.NewGuid():n}",
            $$"""{"customer_id":"{{ada}}","placed_at":"2026-01-01T00:00:00Z","lines":[{"sku":"CD-1","description":"For {{tag}}","quantity":1}],"total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}""", Ct));
        await OkAsync(Api.PostAsync("v1/invoices",
            $$"""{"customer_id":"{{ada}}","order_id":"{{order["id"]}}","number":"R-17","issued_at":"2026-01-01T00:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"open"}""", Ct));
        await OkAsync(Api.PutAsync($"v1/customers/{ada}/billing-accounts/stripe", $$"""{"provider_customer_id":"{{tag}}","subscription":"none"}""", Ct));
        var opened = await OkAsync(Api.PostAsync("v1/cases", $$"""{"customer_id":"{{ada}}","type":"question","subject":"{{tag}}","description":"{{tag}}"}""", Ct));
        await OkAsync(PostOnceAsync($"v1/cases/{opened["id"]}/messages", $$"""{"direction":"inbound","body":"I am {{tag}}","author":"{{email}}"}"""));
        await SendAsync(batch);

        await using (var bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct))
        {
            await bus.PublishAsync(new OrderRecorded($"no order {tag}", 1, ada, DateTimeOffset.UnixEpoch, 1, new Money(100, "USD"), "completed"), ct: Ct);
        }

        var merge = await MergeAsync(ada, absorbed);
        await Eventually.GetAsync(() => CountTextAsync("campaigns", "SELECT count(*) FROM messages WHERE kind = 'confirmation' AND status <> 'sending' AND to_address = $1", email), n => n == 1, ct: Ct);
        await Eventually.GetAsync(() => CountTextAsync("interactions", "SELECT count(*) FROM dead_letter WHERE strpos(body, $1) > 0", tag), n => n == 1, TimeSpan.FromSeconds(60), Ct);
        // Order, invoice, case, interaction, mail.
        await Eventually.GetAsync(() => Api.CallAsync($"v1/customers/{ada}/timeline", Ct), t => t.Data.Count == 5, ct: Ct);
        return (ada, absorbed, merge);
    }

    /// <summary>Its path.</summary>
    private async Task<string> ImportAsync(string rows)
    {
        using var content = new StringContent(rows, Encoding.UTF8, "application/x-ndjson");
        using var accepted = await Api.PostAsync("v1/imports?match_on=email", content, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var import = await Eventually.GetAsync(() => Api.CallAsync(accepted.Headers.Location!.ToString(), Ct), i => (string?)i["status"] == "completed", ct: Ct);
        Assert.Equal((1, 1), ((int)import["updated"]!, (int)import["failed"]!));
        return accepted.Headers.Location!.ToString();
    }

    private async Task AnswersGoneAsync(string ada, string absorbed)
    {
        foreach (var id in new[] { ada, absorbed })
        {
            foreach (var path in new[] { "", "/consents", "/history", "/timeline", "/account", "/overview", "/billing-accounts", "/legal-holds" })
            {
                var answer = await Api.CallAsync($"v1/customers/{id}{path}", Ct);
                Assert.True((HttpStatusCode.Gone, "erased") == (answer.Status, answer.Code), $"{path}: {answer}");
            }
        }

        Assert.Equal("erased", (await Api.PatchAsync($"v1/customers/{ada}", """{"locale":"en-GB"}""", "*", Ct)).Code);
        Assert.Equal("erased", (await Api.PostAsync($"v1/customers/{ada}/consents", """{"channel":"sms","purpose":"news","state":"granted","source":"call"}""", Ct)).Code);
        Assert.Equal("erased", (await EraseAsync(ada, "*")).Code);
        Assert.Equal("unknown_customer", (await Api.PostAsync("v1/cases", $$"""{"customer_id":"{{absorbed}}","type":"question","subject":"Late"}""", Ct)).Code);
        Assert.Equal("unknown_customer", (await Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{ada}}"],"survivor_id":"{{await PersonAsync("New")}}"}""", Ct)).Code);
    }

    /// <summary>By the endpoint, and by whoever has the public keys; an altered one by neither.</summary>
    private async Task ReceiptsVerifyAsync(JsonNode erasure)
    {
        var keys = (await OkAsync(Api.CallAsync("v1/erasure-receipts/keys", Ct)))["keys"]!.AsArray();
        foreach (var receipt in erasure["receipts"]!.AsArray())
        {
            var statement = (string)receipt!["statement"]!;
            var said = await OkAsync(Api.PostAsync("v1/erasure-receipts/verify", $$"""{"statement":"{{statement}}"}""", Ct));
            Assert.Equal(((string?)receipt["service"], (string?)erasure["id"]), ((string?)said["service"], (string?)said["statement"]!["erasure_id"]));
            Assert.True(JsonNode.DeepEquals(receipt["erased"], said["statement"]!["erased"]));

            var parts = statement.Split('.');
            var key = keys.Single(k => (string?)k!["kid"] == (string?)said["key_id"])!;
            Assert.Equal((string?)receipt["service"], (string?)key["service"]);
            using var ecdsa = ECDsa.Create(new ECParameters
            {
                Curve = ECCurve.NamedCurves.nistP256,
                Q = new() { X = Base64UrlEncoder.DecodeBytes((string?)key["x"]), Y = Base64UrlEncoder.DecodeBytes((string?)key["y"]) },
            });
            Assert.True(ecdsa.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64UrlEncoder.DecodeBytes(parts[2]), HashAlgorithmName.SHA256));

            var altered = Base64UrlEncoder.Encode(Base64UrlEncoder.Decode(parts[1]).Replace("\"at\":\"2", "\"at\":\"3", StringComparison.Ordinal));
            Assert.NotEqual(parts[1], altered);
            Assert.Equal((HttpStatusCode)422, (await Api.PostAsync("v1/erasure-receipts/verify", $$"""{"statement":"{{parts[0]}}.{{altered}}.{{parts[2]}}"}""", Ct)).Status);
        }
    }

    /// <summary>What was under way when the person was erased, in messages that nobody has seen, and the last of them unreadable.</summary>
    private async Task PublishLateAsync(string customer, string tag)
    {
        var now = DateTimeOffset.UtcNow;
        var old = new CustomerSnapshot(customer, 2, "person", tag, tag, tag, $"{tag}@example.com", null, null, null, "prospect", "standard", null, new Dictionary<string, System.Text.Json.JsonElement>(), "active", null, now, now);
        var poison = Guid.CreateVersion7();
        var seen = new List<(string Service, Guid Message)>();
        await using (var bus = await TestBus.StartAsync(Fixture.Platform.BusUri, Ct))
        {
            await SendAsync(new CustomerUpdated(old, ["given_name"]), "interactions", "campaigns", "billing-sync", "support");
            await SendAsync(new ConsentRecorded(customer, "email", "marketing", "granted", 99, now), "campaigns");
            await SendAsync(new CaseChanged(Ids.Case.Format(Guid.CreateVersion7()), 9, customer, "question", tag, "normal", "returns", "open", "opened", now, null), "interactions", "campaigns");
            await SendAsync(new OrderRecorded(Ids.Order.Format(Guid.CreateVersion7()), 9, customer, now, 1, new Money(100, "USD"), "completed"), "interactions", "campaigns");
            await SendAsync(new ConsentConfirmationRequested(Ids.Consent.Format(Guid.CreateVersion7()), customer, "email", "surveys", $"{tag}@example.com", tag, now.AddDays(1)), "campaigns");
            await bus.PublishAsync(new OrderRecorded($"no order {tag}", 1, customer, now, 1, new Money(100, "USD"), "completed"), poison, Ct);

            async Task SendAsync<T>(T integrationEvent, params string[] services) where T : class
            {
                var id = Guid.CreateVersion7();
                await bus.PublishAsync(integrationEvent, id, Ct);
                seen.AddRange(services.Select(s => (s, id)));
            }
        }

        foreach (var (service, message) in seen)
        {
            await Eventually.GetAsync(() => CountAsync(service, $"SELECT count(*) FROM inbox WHERE message_id = '{message}' AND $1 <> '{Guid.Empty}'", customer), n => n > 0, ct: Ct);
        }

        // It is given up without being kept; the log tells by its id only.
        await Eventually.GetAsync(
            async () => (await File.ReadAllTextAsync(Fixture.Platform["interactions"].LogFile, Ct)).Contains(poison.ToString(), StringComparison.Ordinal), given => given, TimeSpan.FromSeconds(60), Ct);
        Assert.Equal(0, await CountAsync("interactions", $"SELECT count(*) FROM dead_letter WHERE message_id = '{poison}' AND $1 <> '{Guid.Empty}'", customer));
    }

    private Task<IReadOnlyList<PersonalDataHit>> FindAsync(string[] values) => PersonalDataSearch.FindAsync(Fixture.Platform, values, Ct);

    /// <summary>In no table, queue or log; messages that were in a consumer's hands may take a moment.</summary>
    private Task NowhereAsync(string[] values) => Eventually.GetAsync(() => FindAsync(values), hits => hits.Count == 0, ct: Ct);

    private Task<JsonAnswer> EraseAsync(string customer, string? ifMatch) => Api.CallAsync(
        HttpMethod.Post, $"v1/customers/{customer}/erasures", """{"reason":"Asked for by the person"}""", ifMatch is null ? [] : [("If-Match", ifMatch)], Ct);

    /// <summary>By every service.</summary>
    private async Task ErasedAsync(string customer)
    {
        var asked = await EraseAsync(customer, "*");
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        await Eventually.GetAsync(() => Api.CallAsync($"v1/erasures/{asked["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromSeconds(60), Ct);
    }

    /// <summary>An interaction's id.</summary>
    private async Task<string> LogAsync(string customer, string subject) => (string)(await OkAsync(Api.PostAsync(
        "v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z","subject":"{{subject}}"}""", Ct)))["id"]!;

    private Task<JsonAnswer> PostOnceAsync(string path, string json) => Api.CallAsync(HttpMethod.Post, path, json, [("Idempotency-Key", Guid.NewGuid().ToString("n"))], Ct);

    private async Task<string> PersonAsync(string name, string more = "") => (string)(await OkAsync(Api.PostAsync(
        "v1/customers", $$$"""{"kind":"person","given_name":"{{{name}}}","emails":[{"address":"{{{Guid.NewGuid().ToString("n")}}}@example.com"}],"source":{"type":"enquiry"}{{{more}}}}""", Ct)))["id"]!;

    /// <summary>Who has to ask for changes of other departments' customers.</summary>
    private async Task<HttpClient> OfSupportAsync()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        var key = await OkAsync(admin.PostAsync("v1/keys", """{"name":"support","scopes":["customers:read","customers:write"],"departments":["support"]}""", Ct));
        var client = Fixture.Platform.CreateClient(null);
        client.DefaultRequestHeaders.Authorization = new("Bearer", (string?)key["key"]);
        return client;
    }

    private async Task<string> MergeAsync(string survivor, string absorbed)
    {
        var merge = await Api.MergeAsync(survivor, absorbed, Ct);
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => (string?)m["status"] == "completed", ct: Ct);
        return (string)merge["id"]!;
    }

    private async Task<JsonNode> ArchiveAsync(string customer)
    {
        var export = await OkAsync(Api.PostAsync($"v1/customers/{customer}/exports", "{}", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/exports/{export["id"]}", Ct), e => (string?)e["status"] == "completed", TimeSpan.FromSeconds(60), Ct);
        return await OkAsync(Api.CallAsync($"v1/exports/{export["id"]}/archive", Ct));
    }

    private async Task UndoAsync(string merge, string reason = "Two after all")
    {
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge}", Ct), m => (string?)m["status"] == "completed", ct: Ct);
        await OkAsync(Api.PostAsync($"v1/merges/{merge}/undo", $$"""{"reason":"{{reason}}"}""", Ct));
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge}", Ct), m => (string?)m["status"] == "undone", ct: Ct);
    }

    /// <summary>Each pair of them waits in the review queue.</summary>
    private async Task<IReadOnlyList<string>> TwinsAsync(int count)
    {
        var name = $"Qu{new string([.. Guid.NewGuid().ToString("n")[..12].Select(c => (char)('a' + (c % 25)))])}";
        var body = $$$"""{"kind":"person","given_name":"Wilhelmina","family_name":"{{{name}}}","emails":[{"address":"{{{Guid.NewGuid().ToString("n")}}}@example.com"}],"source":{"type":"enquiry"}}""";
        var ids = new List<string>();
        while (ids.Count < count)
        {
            ids.Add((string)(await OkAsync(Api.PostAsync("v1/customers?allow_duplicate=true&reason=A+twin", body, Ct)))["id"]!);
        }

        return ids;
    }

    private Task<long> CountAsync(string service, string sql, string customer) =>
        CountAsync(service, sql, new NpgsqlParameter<Guid> { TypedValue = Ids.Customer.TryParse(customer, out var id) ? id : throw new FormatException(customer) });

    private Task<long> CountTextAsync(string service, string sql, string text) => CountAsync(service, sql, new NpgsqlParameter<string> { TypedValue = text });

    private async Task<long> CountAsync(string service, string sql, NpgsqlParameter parameter)
    {
        await using var database = NpgsqlDataSource.Create(await Fixture.Platform.ConnectionStringAsync(service));
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(parameter);
        return (long)(await command.ExecuteScalarAsync(Ct))!;
    }
}
