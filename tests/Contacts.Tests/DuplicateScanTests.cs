using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Contracts;
using Crm.Hosting.Auth;
using Crm.Hosting.Rights;
using Crm.Testing;
using Grpc.Core;
using Grpc.Net.Client;
using Npgsql;
using Wire = Crm.Contracts.Contacts.V1;

namespace Contacts.Tests;

/// <summary>Contacts, and Billing, which is asked before every merge.</summary>
public class DuplicatesFixture : ServicesFixture
{
    protected override IReadOnlyCollection<string> Only => ["contacts", "billing-sync"];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string> { ["Duplicates__ScanSeconds"] = "0" };
}

public sealed class MergingFixture : DuplicatesFixture
{
    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string> { ["Duplicates__MergeFrom"] = "0.95", ["Duplicates__ScanSeconds"] = "0" };
}

public sealed class UnaskedFixture : DuplicatesFixture
{
    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string> { ["Duplicates__ScanSeconds"] = "1" };
}

/// <summary>Their scans look at every customer, so they have a platform to themselves, and one after the other.</summary>
public abstract class ScanningTest(DuplicatesFixture fixture)
{
    private readonly string _birth = NewBirth();

    protected static CancellationToken Ct => TestContext.Current.CancellationToken;

    protected HttpClient Api { get; } = fixture.CreateClient("contacts");

    /// <summary>Recorded without a question, as other systems do.</summary>
    /// <param name="birth">The test's own date by default; empty for none.</param>
    protected async Task<string> RecordAsync(string given, string? family, string? birth = null, string? email = null, string? phone = null, string? street = null, string system = "shop")
    {
        var id = Guid.NewGuid().ToString("n");
        birth ??= _birth;
        var person = new JsonObject { ["kind"] = "person", ["given_name"] = given, ["family_name"] = family, ["external_ids"] = new JsonArray(new JsonObject { ["system"] = system, ["id"] = id }), ["source"] = new JsonObject { ["type"] = "enquiry" } };
        if (birth.Length > 0)
        {
            person["birth_date"] = birth;
        }

        if (email is not null)
        {
            person["emails"] = new JsonArray(new JsonObject { ["address"] = email });
        }

        if (phone is not null)
        {
            person["phones"] = new JsonArray(new JsonObject { ["number"] = phone });
        }

        if (street is not null)
        {
            person["addresses"] = new JsonArray(new JsonObject { ["lines"] = new JsonArray(street), ["city"] = "Ware", ["postal_code"] = "SG12 9AB" });
        }

        var answer = await Api.PutAsync($"v1/customers/by-external-id/{system}/{id}", person.ToJsonString(), Ct);
        Assert.True(answer.Status == HttpStatusCode.Created, answer.ToString());
        return (string)answer["id"]!;
    }

    protected async Task<JsonAnswer> ScanAsync(string mode = "changed")
    {
        var asked = await Api.PostAsync("v1/duplicate-scans", $$"""{"mode":"{{mode}}"}""", Ct);
        Assert.Equal(HttpStatusCode.Accepted, asked.Status);
        return await Eventually.GetAsync(() => Api.CallAsync($"v1/duplicate-scans/{asked["id"]}", Ct), s => (string?)s["status"] is "completed" or "failed", TimeSpan.FromMinutes(1), Ct);
    }

    /// <summary>Open pairs of this customer.</summary>
    protected async Task<IReadOnlyList<JsonNode>> OpenAsync(string customer) => (await Api.CallAsync($"v1/duplicates?status=open&customer_id={customer}", Ct)).Data;

    protected async Task PatchAsync(string customer, string json)
    {
        var answer = await Api.PatchAsync($"v1/customers/{customer}", json, "*", Ct);
        Assert.True(answer.Status == HttpStatusCode.OK, answer.ToString());
    }

    /// <summary>Nobody else's: the same given name and birth date with another family name may be a person who married.</summary>
    protected static string NewBirth() => new DateOnly(1930, 1, 1).AddDays(Random.Shared.Next(20_000)).ToString("yyyy-MM-dd");

    protected static string NewName() => $"Qu{new string([.. Guid.NewGuid().ToString("n")[..12].Select(c => (char)('a' + (c % 25)))])}";
}

public sealed class DuplicateScanTests(DuplicatesFixture fixture) : ScanningTest(fixture), IClassFixture<DuplicatesFixture>
{
    private readonly DuplicatesFixture fixture = fixture;

    [Fact]
    public async Task Two_records_of_one_person_are_found_explained_and_merged_when_somebody_accepts()
    {
        var name = NewName();
        var first = await RecordAsync("Robert", name);
        var second = await RecordAsync("Bob", name, system: "erp");
        Assert.Equal("completed", (string?)(await ScanAsync())["status"]);

        var pair = Assert.Single(await OpenAsync(first));
        Assert.Equal([first, second], pair["customers"]!.AsArray().Select(c => (string?)c!["customer_id"]).Order(StringComparer.Ordinal));
        Assert.Equal(
            ["given_name variant", "family_name exact", "birth_date exact"],
            pair["fields"]!.AsArray().Select(f => $"{f!["field"]} {f["level"]}"));
        Explanations.AddUp(pair);

        var merge = await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", """{"reason":"Same birth date"}""", Ct);
        Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());
        Assert.Equal((first, second, "Same birth date"), ((string?)merge["survivor_id"], (string?)merge["absorbed_ids"]![0], (string?)merge["reason"]));
        var again = await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct);
        Assert.Equal((string?)merge["id"], (string?)again["id"]);
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);

        var decided = await Api.CallAsync($"v1/duplicates/{pair["id"]}", Ct);
        Assert.Equal(("merged", "key_test", (string?)merge["id"]), ((string?)decided["status"], (string?)decided["decided_by"], (string?)decided["merge_id"]));
        Assert.Empty(await OpenAsync(first));
        Assert.Equal(HttpStatusCode.Conflict, (await Api.PostAsync($"v1/duplicates/{pair["id"]}/reject", "{}", Ct)).Status);
        Assert.Equal(1, await AuditedAsync("duplicate", (string)pair["id"]!));
    }

    [Fact]
    public async Task A_pair_whose_two_were_merged_by_hand_is_decided_by_that_merge()
    {
        var name = NewName();
        var (first, second) = (await RecordAsync("Robert", name), await RecordAsync("Bob", name, system: "erp"));
        await ScanAsync();
        var pair = Assert.Single(await OpenAsync(first));
        var preview = await Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{second}}"],"survivor_id":"{{first}}"}""", Ct);
        var merge = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same birth date"}""", Ct);
        Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());

        // As of one that was accepted.
        await DecidedAsync("merged", "Same birth date", (string?)merge["id"]);
        Assert.Equal((string?)merge["id"], (string?)(await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct))["id"]);

        // Undone, nobody is asked again, and it can be decided anew, either way.
        await UndoAsync(merge);
        await DecidedAsync("ignored", "Two after all", null);
        await ScanAsync("full");
        await DecidedAsync("ignored", "Two after all", null);
        var again = await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", """{"reason":"One after all"}""", Ct);
        Assert.NotEqual((string?)merge["id"], (string?)again["id"]);
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
        await DecidedAsync("merged", "One after all", (string?)again["id"]);
        await UndoAsync(again);
        Assert.Equal("rejected", (string?)(await Api.PostAsync($"v1/duplicates/{pair["id"]}/reject", """{"reason":"Father and son"}""", Ct))["status"]);
        await DecidedAsync("rejected", "Father and son", null);
        Assert.Equal(5, await AuditedAsync("duplicate", (string)pair["id"]!));

        async Task UndoAsync(JsonAnswer made)
        {
            var undo = await Api.PostAsync($"v1/merges/{made["id"]}/undo", """{"reason":"Two after all"}""", Ct);
            Assert.True(undo.Status == HttpStatusCode.Accepted, undo.ToString());
        }

        async Task DecidedAsync(string status, string reason, string? of)
        {
            var decided = await Api.CallAsync($"v1/duplicates/{pair["id"]}", Ct);
            Assert.Equal((status, "key_test", reason, of), ((string?)decided["status"], (string?)decided["decided_by"], (string?)decided["reason"], (string?)decided["merge_id"]));
            Assert.Empty(await OpenAsync(first));
        }
    }

    [Theory]
    [InlineData("""{"kind":"organization","name":"Works","source":{"type":"enquiry"}}""", """{"kind":"person","name":null,"given_name":"Ada"}""", "Ada")]
    [InlineData("""{"kind":"person","given_name":"Ada","source":{"type":"enquiry"}}""", """{"kind":"organization","given_name":null,"family_name":null,"name":"Works"}""", "Works")]
    public async Task A_survivor_that_was_made_a_customer_of_the_other_kind_since_stays_it_after_the_undo(string customer, string edit, string shown)
    {
        var ids = new List<string>();
        for (var i = 0; i < 2; i++)
        {
            ids.Add((string)(await Api.PutAsync($"v1/customers/by-external-id/shop/{Guid.NewGuid():n}", customer, Ct))["id"]!);
        }

        var preview = await Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{ids[1]}}"],"survivor_id":"{{ids[0]}}"}""", Ct);
        var merge = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"One"}""", Ct);
        await PatchAsync(ids[0], edit);
        var undo = await Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two after all"}""", Ct);
        Assert.True(undo.Status == HttpStatusCode.Accepted, undo.ToString());
        Assert.Contains("kind", undo["kept_edits"]![0]!["fields"]!.AsArray().Select(f => (string?)f));
        Assert.Equal(shown, (string?)(await Api.CallAsync($"v1/customers/{ids[0]}", Ct))["display_name"]);
        Assert.NotEqual(shown, (string?)(await Api.CallAsync($"v1/customers/{ids[1]}", Ct))["display_name"]);
        await PatchAsync(ids[0], """{"tier":"standard","locale":"en-GB"}""");
    }

    [Fact]
    public async Task By_the_id_of_an_absorbed_record_pairs_and_grants_of_the_customer_are_found()
    {
        var name = NewName();
        var (first, second, third) = (await RecordAsync("Robert", name), await RecordAsync("Bob", name, system: "erp"), await RecordAsync("Robert", name, system: "web"));
        var grants = new List<string?>();
        foreach (var customer in new[] { first, second })
        {
            await PatchAsync(customer, """{"department":"sales"}""");
            var grant = await Api.PostAsync(
                "v1/grants", $$"""{"owner_department":"sales","grantee_department":"d-{{name.ToLowerInvariant()}}","scope":"customer","customer_id":"{{customer}}","access":"read","reason":"A case"}""", Ct);
            Assert.True(grant.Status == HttpStatusCode.Created, grant.ToString());
            grants.Insert(0, (string?)grant["id"]);
        }

        await ScanAsync();
        var merge = await Api.PostAsync($"v1/duplicates/{Assert.Single(await OpenAsync(first), p => Has(p, second))["id"]}/accept", "{}", Ct);
        Assert.Equal(second, (string?)merge["absorbed_ids"]![0]);

        var other = Assert.Single(await OpenAsync(second), p => Has(p, first) && Has(p, third));
        foreach (var customer in new[] { first, second })
        {
            Assert.Equal(grants, (await Api.CallAsync($"v1/grants?customer_id={customer}", Ct)).Data.Select(g => (string?)g["id"]));
        }

        Assert.Empty((await Api.CallAsync($"v1/grants?customer_id={third}", Ct)).Data);
        var granted = await Api.PostAsync(
            "v1/grants", $$"""{"owner_department":"sales","grantee_department":"e-{{name.ToLowerInvariant()}}","scope":"customer","customer_id":"{{second}}","access":"read","reason":"A case"}""", Ct);
        Assert.Equal((HttpStatusCode.Created, first), (granted.Status, (string?)granted["customer_id"]));
        Assert.Equal(first, (string?)(await Api.PostAsync($"v1/duplicates/{other["id"]}/accept", $$"""{"survivor_id":"{{second}}"}""", Ct))["survivor_id"]);
    }

    [Fact]
    public async Task The_id_and_the_external_id_of_an_absorbed_record_stand_for_the_survivor_over_grpc_and_in_an_import()
    {
        var (first, second) = (await RecordAsync("Robert", NewName()), await RecordAsync("Bob", NewName(), system: "erp"));
        var external = (string)(await Api.CallAsync($"v1/customers/{second}", Ct))["external_ids"]![0]!["id"]!;
        var preview = await Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{second}}"],"survivor_id":"{{first}}"}""", Ct);
        var merge = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct);
        Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());

        using var channel = GrpcChannel.ForAddress(fixture.Platform["contacts"].GrpcAddress!);
        var grpc = new Wire.Contacts.ContactsClient(channel);
        foreach (var request in new[] { new Wire.ResolveCustomerRequest { Id = second }, new Wire.ResolveCustomerRequest { ExternalId = new() { System = "erp", Id = external } } })
        {
            var resolved = await grpc.ResolveCustomerAsync(request, new Metadata { { "authorization", $"Bearer {fixture.Token(Scopes.CustomersRead)}" } }, cancellationToken: Ct);
            Assert.Equal((first, second), (resolved.Snapshot.Id, Assert.Single(resolved.MergedFrom)));
        }

        using var file = new StringContent(
            $$"""{"kind":"person","given_name":"Robert","locale":"de-AT","external_ids":[{"system":"erp","id":"{{external}}"}]}""", Encoding.UTF8, "application/x-ndjson");
        using var accepted = await Api.PostAsync("v1/imports", file, Ct);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        var import = accepted.Headers.Location!.ToString();
        var done = await Eventually.GetAsync(() => Api.CallAsync(import, Ct), i => (string?)i["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal((0, 1), ((int)done["created"]!, (int)done["updated"]!));
        Assert.Equal(first, (string?)Assert.Single((await Api.CallAsync($"{import}/results", Ct)).Data)["customer_id"]);
        Assert.Equal("de-AT", (string?)(await Api.CallAsync($"v1/customers/{first}", Ct))["locale"]);
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
    }

    [Fact]
    public async Task A_pair_of_another_department_is_accepted_by_its_approval()
    {
        var name = NewName();
        var (first, second) = (await RecordAsync("Robert", name), await RecordAsync("Bob", name, system: "erp"));
        await PatchAsync(first, """{"department":"sales"}""");
        await ScanAsync();
        var pair = Assert.Single(await OpenAsync(first));
        using var asker = fixture.CreateClient("contacts", new TokenSubject("key_asker", Scopes.All, [], ["support"]));
        using var owner = fixture.CreateClient("contacts", new TokenSubject("key_owner", Scopes.All, [], ["sales"]));
        var atOnce = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => asker.PostAsync($"v1/duplicates/{pair["id"]}/accept", """{"reason":"Same birth date"}""", Ct)));
        Assert.All(atOnce, a => Assert.True(a.Status == HttpStatusCode.Accepted, a.ToString()));
        var asked = atOnce[0];
        Assert.Single(atOnce.Select(a => (string?)a["id"]).Distinct());
        Assert.Equal(("merge_customers", first, second), ((string?)asked["operation"], (string?)asked["request"]!["survivor_id"], (string?)asked["request"]!["absorbed_ids"]![0]));
        Assert.Equal((string?)asked["id"], (string?)(await asker.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct))["id"]);
        Assert.Equal("open", (string?)(await Api.CallAsync($"v1/duplicates/{pair["id"]}", Ct))["status"]);

        var approved = await owner.PostAsync($"v1/change-requests/{asked["id"]}/approve", "{}", Ct);
        Assert.True(approved.Status == HttpStatusCode.OK, approved.ToString());
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
        var decided = await Api.CallAsync($"v1/duplicates/{pair["id"]}", Ct);
        Assert.Equal(("merged", "key_owner", "Same birth date"), ((string?)decided["status"], (string?)decided["decided_by"], (string?)decided["reason"]));
        Assert.StartsWith("mrg_", (string?)decided["merge_id"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pair_is_ignored_or_rejected_by_who_may_change_one_of_the_two_and_nobody_else()
    {
        var name = NewName();
        var (first, second) = (await RecordAsync("Robert", name), await RecordAsync("Bob", name, system: "erp"));
        await PatchAsync(first, """{"department":"sales"}""");
        await PatchAsync(second, """{"department":"warehouse"}""");
        await ScanAsync();
        var pair = Assert.Single(await OpenAsync(first));
        using var stranger = fixture.CreateClient("contacts", new TokenSubject("key_stranger", Scopes.All, [], ["support"]));
        foreach (var decision in (string[])["ignore", "reject"])
        {
            var refused = await stranger.PostAsync($"v1/duplicates/{pair["id"]}/{decision}", "{}", Ct);
            Assert.Equal((HttpStatusCode.Forbidden, "department_forbidden"), (refused.Status, refused.Code));
        }

        Assert.Equal("open", (string?)(await stranger.CallAsync($"v1/duplicates/{pair["id"]}", Ct))["status"]);
        foreach (var (department, decision, status) in new[] { ("warehouse", "ignore", "ignored"), ("sales", "reject", "rejected") })
        {
            using var owner = fixture.CreateClient("contacts", new TokenSubject("key_owner", Scopes.All, [], [department]));
            Assert.Equal(status, (string?)(await owner.PostAsync($"v1/duplicates/{pair["id"]}/{decision}", "{}", Ct))["status"]);
        }
    }

    [Theory]
    [InlineData("outside the row filter")]
    [InlineData("of a closed department")]
    [InlineData("of a closed department, merged into another one before")]
    public async Task Who_does_not_see_a_record_sees_after_an_undo_nothing_of_it_in_the_one_that_it_was_merged_into(string which)
    {
        var (partner, email) = (NewName(), $"{NewName()}@example.com".ToLowerInvariant());
        var (own, other) = (await RecordAsync("Robert", NewName()), await RecordAsync("Berta", NewName(), NewBirth(), email));
        await PatchAsync(own, $$$"""{"department":"sales","attributes":{"distributor":"{{{partner}}}"}}""");
        await PatchAsync(other, """{"department":"legal"}""");
        var (absorbed, merges) = (other, new List<string>());
        if (which.EndsWith("before", StringComparison.Ordinal))
        {
            absorbed = await RecordAsync("Carla", NewName(), NewBirth());
            merges.Add(await MergeAsync(absorbed, other));
        }

        merges.Add(await MergeAsync(own, absorbed));
        using var asker = fixture.CreateClient("contacts", new TokenSubject("key_asker", Scopes.All, [], ["support"]));
        var asked = await asker.PatchAsync($"v1/customers/{own}", $$$"""{"emails":[{"address":"{{{email}}}","type":"work"}]}""", "*", Ct);
        Assert.True(asked.Status == HttpStatusCode.Accepted, asked.ToString());
        await PatchAsync(own, """{"emails":[]}""");
        foreach (var merge in merges.AsEnumerable().Reverse())
        {
            var undo = await Api.PostAsync($"v1/merges/{merge}/undo", """{"reason":"Two persons"}""", Ct);
            Assert.True(undo.Status == HttpStatusCode.Accepted, undo.ToString());
        }

        using var caller = fixture.CreateClient("contacts", which.StartsWith("outside", StringComparison.Ordinal)
            ? new TokenSubject("key_partner", Scopes.All, [], [], new RowFilter { Attribute = "distributor", Value = partner })
            : new TokenSubject("key_sales", Scopes.All, [], ["sales"]));
        var path = $"v1/customers/{own}/history";
        Assert.Equal(HttpStatusCode.NotFound, (await caller.CallAsync($"v1/customers/{other}/history", Ct)).Status);
        var history = await caller.CallAsync(path, Ct);
        Assert.Equal(["unmerged", "updated", "merged", "updated"], history.Data.Take(4).Select(e => (string?)e["action"]));
        Assert.All(history.Data.Take(3), e => Assert.Null(e["changes"]));
        Assert.NotNull(history.Data[3]["changes"]);
        Assert.DoesNotContain(email, history.Body!.ToJsonString(), StringComparison.Ordinal);
        var ofEmails = (await caller.CallAsync($"{path}?field=emails", Ct)).Data.Select(e => (string?)e["id"]).ToList();
        Assert.Empty(ofEmails.Intersect(history.Data.Take(3).Select(e => (string?)e["id"])));
        foreach (var request in new[] { await caller.CallAsync($"v1/change-requests/{asked["id"]}", Ct), await caller.CallAsync($"v1/change-requests?customer_id={own}", Ct) })
        {
            Assert.Equal(HttpStatusCode.OK, request.Status);
            Assert.Contains((string)asked["id"]!, request.Body!.ToJsonString(), StringComparison.Ordinal);
            Assert.DoesNotContain(email, request.Body!.ToJsonString(), StringComparison.Ordinal);
        }

        foreach (var entry in history.Data.Take(3))
        {
            var restored = await caller.CallAsync(HttpMethod.Post, $"{path}/{entry["id"]}/restore", "{}", [("If-Match", "*")], Ct);
            Assert.Equal((HttpStatusCode.Conflict, "conflict"), (restored.Status, restored.Code));
        }

        // Who sees both sees what they were together.
        using var both = fixture.CreateClient("contacts", new TokenSubject("key_both", Scopes.All, [], ["sales", "legal"]));
        foreach (var all in new[] { Api, both })
        {
            var shown = await all.CallAsync(path, Ct);
            Assert.All(shown.Data.Take(3), e => Assert.NotNull(e["changes"]));
            Assert.Contains(email, shown.Body!.ToJsonString(), StringComparison.Ordinal);
            // The undo left the addresses, which were taken away, as they were.
            Assert.Equal(
                shown.Data.Skip(1).Take(2).Select(e => (string?)e["id"]), (await all.CallAsync($"{path}?field=emails", Ct)).Data.Take(2).Select(e => (string?)e["id"]));
            Assert.Contains(email, (await all.CallAsync($"v1/change-requests/{asked["id"]}", Ct)).Body!.ToJsonString(), StringComparison.Ordinal);
        }

        async Task<string> MergeAsync(string survivor, string gone)
        {
            var preview = await Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{gone}}"],"survivor_id":"{{survivor}}"}""", Ct);
            var merge = await Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct);
            Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());
            return (string)merge["id"]!;
        }
    }

    [Fact]
    public async Task A_rejected_pair_is_never_asked_about_again_under_whatever_ids_it_goes_on()
    {
        var name = NewName();
        var (father, son, third) = (await RecordAsync("Wilhelm", name), await RecordAsync("Wilhelm", name, system: "erp"), await RecordAsync("Wilhelm", name, system: "web"));
        await ScanAsync();
        var pair = Assert.Single(await OpenAsync(father), p => Has(p, son));
        var rejected = await Api.PostAsync($"v1/duplicates/{pair["id"]}/reject", """{"reason":"Father and son"}""", Ct);
        Assert.Equal(("rejected", "Father and son"), ((string?)rejected["status"], (string?)rejected["reason"]));
        Assert.Equal(HttpStatusCode.Conflict, (await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct)).Status);

        await PatchAsync(father, """{"addresses":[{"city":"Ware"}]}""");
        await ScanAsync();
        Assert.DoesNotContain(await OpenAsync(father), p => Has(p, son));

        // The father goes on under the third record's id.
        var same = Assert.Single(await OpenAsync(father), p => Has(p, third));
        var merge = await Api.PostAsync($"v1/duplicates/{same["id"]}/accept", $$"""{"survivor_id":"{{third}}"}""", Ct);
        Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());
        await ScanAsync();
        Assert.Empty(await OpenAsync(third));
        await ScanAsync("full");
        Assert.Empty(await OpenAsync(third));
        Assert.Contains((await Api.CallAsync($"v1/duplicates?status=rejected&customer_id={son}", Ct)).Data, p => (string?)p["id"] == (string?)pair["id"]);
    }

    [Fact]
    public async Task An_ignored_pair_is_not_asked_about_again_and_can_still_be_decided()
    {
        var (name, other, birth) = (NewName(), NewName(), NewBirth());
        var (a, b) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmine", name, system: "erp"));
        var (c, _) = (await RecordAsync("Wilhelmina", other, birth), await RecordAsync("Wilhelmine", other, birth, system: "erp"));
        await ScanAsync();
        var (pair, second) = (Assert.Single(await OpenAsync(a)), Assert.Single(await OpenAsync(c)));
        var ignored = await Api.PostAsync($"v1/duplicates/{pair["id"]}/ignore", """{"reason":"Nobody can tell"}""", Ct);
        Assert.Equal(("ignored", "key_test", "Nobody can tell"), ((string?)ignored["status"], (string?)ignored["decided_by"], (string?)ignored["reason"]));
        var again = await Api.PostAsync($"v1/duplicates/{pair["id"]}/ignore", """{"reason":"Again"}""", Ct);
        Assert.Equal((HttpStatusCode.OK, "Nobody can tell"), (again.Status, (string?)again["reason"]));

        await PatchAsync(b, """{"addresses":[{"city":"Ware"}]}""");
        await ScanAsync();
        Assert.Empty(await OpenAsync(a));
        await ScanAsync("full");
        Assert.DoesNotContain(await OpenAsync(a), p => Has(p, b));
        Assert.Single((await Api.CallAsync($"v1/duplicates?status=ignored&customer_id={a}", Ct)).Data);

        var merge = await Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct);
        Assert.True(merge.Status == HttpStatusCode.Accepted, merge.ToString());
        Assert.Equal(HttpStatusCode.Conflict, (await Api.PostAsync($"v1/duplicates/{pair["id"]}/ignore", "{}", Ct)).Status);
        Assert.Equal(2, await AuditedAsync("duplicate", (string)pair["id"]!));

        await Api.PostAsync($"v1/duplicates/{second["id"]}/ignore", "{}", Ct);
        Assert.Equal("rejected", (string?)(await Api.PostAsync($"v1/duplicates/{second["id"]}/reject", "{}", Ct))["status"]);
        Assert.Equal(HttpStatusCode.Conflict, (await Api.PostAsync($"v1/duplicates/{second["id"]}/ignore", "{}", Ct)).Status);
    }

    [Fact]
    public async Task Where_it_is_switched_off_nothing_is_scanned_unasked()
    {
        await RecordAsync("Wilhelmina", NewName());
        await Task.Delay(TimeSpan.FromSeconds(4), Ct);
        Assert.DoesNotContain((await Api.CallAsync("v1/duplicate-scans?limit=100", Ct)).Data, s => (string?)s["actor"] == "svc:contacts");
    }

    [Fact]
    public async Task A_scan_that_fails_again_and_again_is_given_up_and_the_next_one_runs()
    {
        var name = NewName();
        var (a, _) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmina", name, system: "erp"));
        await using var database = await fixture.DatabaseAsync("contacts");
        await RenameAsync("duplicate_models", "away");
        try
        {
            var scan = await ScanAsync("full");
            Assert.Equal("failed", (string?)scan["status"]);
            Assert.NotNull((string?)scan["finished_at"]);
            Assert.True(Crm.Contracts.Ids.DuplicateScan.TryParse((string)scan["id"]!, out var id));
            await using var attempts = database.CreateCommand("SELECT attempts FROM duplicate_scans WHERE id = $1");
            attempts.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = id });
            Assert.Equal(5, await attempts.ExecuteScalarAsync(Ct));
        }
        finally
        {
            await RenameAsync("away", "duplicate_models");
        }

        // Whatever was asked for: the one before it saw nothing.
        var next = await ScanAsync();
        Assert.Equal(("completed", "full"), ((string?)next["status"], (string?)next["mode"]));
        Assert.Single(await OpenAsync(a));

        async Task RenameAsync(string from, string to)
        {
            await using var rename = database.CreateCommand($"ALTER TABLE {from} RENAME TO {to}");
            await rename.ExecuteNonQueryAsync(Ct);
        }
    }

    [Fact]
    public async Task After_the_first_a_scan_looks_only_at_what_is_new_or_changed()
    {
        var name = NewName();
        var known = await RecordAsync("Wilhelmina", name);
        await ScanAsync();
        Assert.Equal(0, (int)(await ScanAsync())["records"]!);

        var again = await RecordAsync("Wilhelmine", name, system: "erp");
        await PatchAsync(known, """{"tier":"gold"}""");
        var scan = await ScanAsync();
        Assert.Equal((1, 1), ((int)scan["records"]!, (int)scan["found"]!));
        Assert.Single(await OpenAsync(again), p => Has(p, known));
    }

    [Fact]
    public async Task A_full_scan_and_scans_of_changes_find_the_same()
    {
        var name = NewName();
        var people = new List<string> { await RecordAsync("Wilhelmina", name) };
        await ScanAsync("full");
        people.Add(await RecordAsync("Wilhelmine", name, system: "erp"));
        people.Add(await RecordAsync(name, "Wilhelmina", system: "web"));
        await RecordAsync("Charles", name, birth: NewBirth());
        await ScanAsync();
        var found = await PairsAsync(people[0]);
        Assert.Equal(2, found.Count);
        await ScanAsync("full");
        Assert.Equal(found, await PairsAsync(people[0]));
    }

    [Fact]
    public async Task A_pair_that_no_longer_agrees_leaves_the_queue()
    {
        var name = NewName();
        var (a, b) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmina", name, system: "erp"));
        await ScanAsync();
        Assert.Single(await OpenAsync(a));
        await PatchAsync(b, $$"""{"given_name":"Otto","family_name":"{{NewName()}}","birth_date":"{{NewBirth()}}"}""");
        await ScanAsync();
        Assert.Empty(await OpenAsync(a));
    }

    [Fact]
    public async Task A_household_is_not_taken_for_one_person()
    {
        var name = NewName();
        var phone = $"+49{Random.Shared.NextInt64(1_000_000_000, 9_999_999_999)}";
        var he = await RecordAsync("Otto", name, birth: "", email: $"{name}@example.com", phone: phone, street: "7 Elm Road");
        await RecordAsync("Charlotte", name, birth: "", email: $"{name}@example.com", phone: phone, street: "7 Elm Road", system: "erp");
        await RecordAsync("Mathilda", name, birth: NewBirth(), phone: phone, street: "7 Elm Road", system: "web");
        await ScanAsync();
        Assert.Empty(await OpenAsync(he));
        await ScanAsync("full");
        Assert.Empty(await OpenAsync(he));
    }

    [Fact]
    public async Task A_blocked_address_proves_nothing_until_it_is_unblocked()
    {
        var (given, email) = (NewName(), $"{NewName()}@example.com");
        var (a, b) = (await RecordAsync(given, NewName(), email: email), await RecordAsync(given, null, birth: NewBirth(), email: email, system: "erp"));
        await ScanAsync();
        Assert.Single(await OpenAsync(a), p => Has(p, b));

        var blocked = await Api.PostAsync("v1/blocked-identifiers", $$"""{"kind":"email","value":"{{email.ToUpperInvariant()}}","reason":"The office"}""", Ct);
        Assert.Equal((HttpStatusCode.Created, email.ToLowerInvariant()), (blocked.Status, (string?)blocked["value"]));
        Assert.Equal((string?)blocked["id"], (string?)(await Api.PostAsync("v1/blocked-identifiers", $$"""{"kind":"email","value":"{{email}}","reason":"Again"}""", Ct))["id"]);
        await ScanAsync();
        Assert.Empty(await OpenAsync(a));
        var other = $$$"""{"kind":"person","given_name":"Otto","emails":[{"address":"{{{email}}}"}],"source":{"type":"enquiry"}}""";
        Assert.Equal(HttpStatusCode.Created, (await Api.PostAsync("v1/customers", other, Ct)).Status);

        Assert.Equal(HttpStatusCode.NoContent, (await Api.CallAsync(HttpMethod.Delete, $"v1/blocked-identifiers/{blocked["id"]}", ct: Ct)).Status);
        await ScanAsync();
        Assert.Single(await OpenAsync(a), p => Has(p, b));
        Assert.Equal("duplicate_suspected", (await Api.PostAsync("v1/customers", other, Ct)).Code);
        Assert.Equal(2, await AuditedAsync("blocked_identifier", (string)blocked["id"]!));
    }

    [Theory]
    [InlineData("""{"kind":"email","value":"no address","reason":"x"}""", "/value wrong_format")]
    [InlineData("""{"kind":"phone","value":"12345","reason":"x"}""", "/value wrong_format")]
    [InlineData("""{"kind":"email","value":"a@example.com"}""", "/reason required")]
    public async Task What_cannot_be_blocked_is_refused_with_its_place(string body, string error) =>
        Assert.Contains(error, (await Api.PostAsync("v1/blocked-identifiers", body, Ct)).Errors);

    [Fact]
    public async Task The_queue_is_walked_page_by_page_the_likeliest_first()
    {
        for (var i = 0; i < 3; i++)
        {
            var name = NewName();
            await RecordAsync("Wilhelmina", name);
            await RecordAsync(i == 0 ? "Wilhelmina" : "Wilhelmine", name, system: "erp");
        }

        await ScanAsync();
        var whole = (await Api.CallAsync("v1/duplicates?limit=100", Ct)).Data;
        Assert.Equal(whole.Select(d => (double)d["weight"]!).OrderDescending(), whole.Select(d => (double)d["weight"]!));
        var walked = new List<string?>();
        for (var page = await Api.CallAsync("v1/duplicates?limit=2", Ct); ; page = await Api.CallAsync($"v1/duplicates?limit=2&cursor={page["next_cursor"]}", Ct))
        {
            walked.AddRange(page.Data.Select(d => (string?)d["id"]));
            if (!(bool)page["has_more"]!)
            {
                break;
            }
        }

        Assert.Equal(whole.Select(d => (string?)d["id"]), walked);
    }

    [Fact]
    public async Task A_walk_of_the_queue_goes_on_where_it_was_after_a_scan_that_took_the_pair_away()
    {
        var name = NewName();
        var known = await RecordAsync("Wilhelmina", name);
        foreach (var system in (string[])["erp", "web", "till"])
        {
            await RecordAsync("Wilhelmine", name, system: system);
        }

        await ScanAsync();
        var whole = (await OpenAsync(known)).ToList();
        Assert.Equal(3, whole.Count);
        var first = await Api.CallAsync($"v1/duplicates?customer_id={known}&limit=1", Ct);
        Assert.Equal((string?)whole[0]["id"], (string?)Assert.Single(first.Data)["id"]);

        var other = whole[0]["customers"]!.AsArray().Select(c => (string)c!["customer_id"]!).Single(c => c != known);
        await PatchAsync(other, $$"""{"given_name":"Otto","family_name":"{{NewName()}}","birth_date":"{{NewBirth()}}"}""");
        await ScanAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await Api.CallAsync($"v1/duplicates/{whole[0]["id"]}", Ct)).Status);

        var rest = await Api.CallAsync($"v1/duplicates?customer_id={known}&cursor={first["next_cursor"]}", Ct);
        Assert.Equal(whole.Skip(1).Select(p => (string?)p["id"]), rest.Data.Select(p => (string?)p["id"]));
    }

    [Fact]
    public async Task What_is_no_cursor_of_the_queue_is_refused_as_are_those_of_the_release_that_named_a_pair()
    {
        var name = NewName();
        var (a, _) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmina", name, system: "erp"));
        await ScanAsync();
        var pair = (string)Assert.Single(await OpenAsync(a))["id"]!;
        foreach (var cursor in new[] { pair, "nonsense", new string('_', 32) })
        {
            var refused = await Api.CallAsync($"v1/duplicates?cursor={cursor}", Ct);
            Assert.Equal((HttpStatusCode.BadRequest, "invalid_parameter"), (refused.Status, refused.Code));
        }
    }

    [Fact]
    public async Task Two_who_accept_at_once_make_one_merge()
    {
        var name = NewName();
        var (a, _) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmina", name, system: "erp"));
        await ScanAsync();
        var pair = Assert.Single(await OpenAsync(a));
        var answers = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => Api.PostAsync($"v1/duplicates/{pair["id"]}/accept", "{}", Ct)));
        Assert.All(answers, answer => Assert.Equal(HttpStatusCode.Accepted, answer.Status));
        Assert.Single(answers.Select(answer => (string?)answer["id"]).Distinct());
    }

    [Fact]
    public async Task A_scan_whose_process_was_killed_is_finished_by_the_next_one()
    {
        var name = NewName();
        var (a, _) = (await RecordAsync("Wilhelmina", name), await RecordAsync("Wilhelmina", name, system: "erp"));
        var asked = await Api.PostAsync("v1/duplicate-scans", """{"mode":"full"}""", Ct);
        // Killed at any moment of it: this one is held at its first step by a lock on what that deletes.
        await using (var database = await fixture.DatabaseAsync("contacts"))
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (var transaction = await connection.BeginTransactionAsync(Ct))
        {
            await using var hold = new NpgsqlCommand("LOCK TABLE duplicates IN EXCLUSIVE MODE", connection);
            await hold.ExecuteNonQueryAsync(Ct);
            await Eventually.GetAsync(() => Api.CallAsync($"v1/duplicate-scans/{asked["id"]}", Ct), s => (string?)s["status"] != "queued", ct: Ct);
            await fixture.Platform["contacts"].KillAsync();
        }

        await fixture.Platform["contacts"].StartAsync(ct: Ct);
        var scan = await Eventually.GetAsync(() => Api.CallAsync($"v1/duplicate-scans/{asked["id"]}", Ct), s => (string?)s["status"] is "completed" or "failed", TimeSpan.FromMinutes(1), Ct);
        Assert.Equal("completed", (string?)scan["status"]);
        Assert.Single(await OpenAsync(a));
    }

    [Fact]
    public async Task While_one_replica_scans_the_others_wait()
    {
        string path;
        await using (var database = await fixture.DatabaseAsync("contacts"))
        await using (var connection = await database.OpenConnectionAsync(Ct))
        await using (var transaction = await connection.BeginTransactionAsync(Ct))
        {
            await using var turn = new NpgsqlCommand("SELECT pg_try_advisory_xact_lock(hashtextextended('duplicate scan', 0))", connection);
            await Eventually.GetAsync(async () => (bool)(await turn.ExecuteScalarAsync(Ct))!, mine => mine, ct: Ct);
            path = $"v1/duplicate-scans/{(await Api.PostAsync("v1/duplicate-scans", """{"mode":"full"}""", Ct))["id"]}";
            await Task.Delay(TimeSpan.FromSeconds(3), Ct);
            Assert.Equal("queued", (string?)(await Api.CallAsync(path, Ct))["status"]);
        }

        await Eventually.GetAsync(() => Api.CallAsync(path, Ct), s => (string?)s["status"] == "completed", ct: Ct);
    }

    [Fact]
    public async Task What_a_full_scan_keeps_to_score_by_names_nobody_and_neither_does_what_an_earlier_release_kept_once_it_is_read()
    {
        var name = NewName();
        for (var i = 0; i < 3; i++)
        {
            await RecordAsync("Wilhelmina", name, NewBirth());
        }

        Assert.Equal("completed", (string?)(await ScanAsync("full"))["status"]);
        await using var database = await fixture.DatabaseAsync("contacts");
        Assert.Equal((0L, true), (await CountAsync("NOT LIKE '#%'"), await CountAsync("LIKE '#%'") > 1));

        await using (var store = database.CreateCommand("""
            UPDATE duplicate_models SET model = jsonb_set(model, '{terms,family}', jsonb_build_object($1::text, 3)) WHERE kind = 'person'
            """))
        {
            store.Parameters.Add(new NpgsqlParameter<string> { TypedValue = name.ToLowerInvariant() });
            Assert.Equal(1, await store.ExecuteNonQueryAsync(Ct));
        }

        Assert.Equal(1, await CountAsync("NOT LIKE '#%'"));
        await fixture.Platform["contacts"].KillAsync();
        await fixture.Platform["contacts"].StartAsync(ct: Ct);
        await Eventually.GetAsync(() => Api.CallAsync("v1/duplicates", Ct), d => d.Status == HttpStatusCode.OK, ct: Ct);
        await RecordAsync("Wilhelmina", name, NewBirth());
        await Eventually.GetAsync(() => CountAsync("NOT LIKE '#%'"), texts => texts == 0, ct: Ct);
        Assert.Equal(1, await CountAsync("LIKE '#%' AND t.list = 'family' AND m.kind = 'person'"));

        async Task<long> CountAsync(string term)
        {
            await using var count = database.CreateCommand(
                $"SELECT count(*) FROM duplicate_models m, jsonb_each(m.model -> 'terms') AS t (list, counts), jsonb_object_keys(t.counts) AS term WHERE term {term}");
            return (long)(await count.ExecuteScalarAsync(Ct))!;
        }
    }

    private static bool Has(JsonNode pair, string customer) => pair["customers"]!.AsArray().Any(c => (string?)c!["customer_id"] == customer);

    private async Task<IReadOnlyList<string?>> PairsAsync(string customer) => [.. (await OpenAsync(customer)).Select(p => (string?)p["id"]).Order(StringComparer.Ordinal)];

    private async Task<long> AuditedAsync(string type, string id)
    {
        await using var database = await fixture.DatabaseAsync("contacts");
        await using var count = database.CreateCommand("SELECT count(*) FROM audit_entry WHERE record_type = $1 AND record_id = $2 AND actor = 'key_test'");
        count.Parameters.Add(new NpgsqlParameter<string> { TypedValue = type });
        count.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = Parse(id) });
        return (long)(await count.ExecuteScalarAsync(Ct))!;

        static Guid Parse(string id) =>
            (Crm.Contracts.Ids.Duplicate.TryParse(id, out var key) || Crm.Contracts.Ids.BlockedIdentifier.TryParse(id, out key)) ? key : throw new ArgumentException(id, nameof(id));
    }
}

/// <summary>Where what has waited a second is scanned.</summary>
public sealed class UnaskedScanTests(UnaskedFixture fixture) : ScanningTest(fixture), IClassFixture<UnaskedFixture>
{
    [Fact]
    public async Task What_is_new_or_changed_is_found_without_anybody_asking_and_much_more_of_it_estimated_anew()
    {
        var birth = NewBirth();
        var first = await RecordAsync("Wilhelmina", NewName(), birth, street: "12 Mill Lane");
        // Married: the other name keeps its upsert from queueing the pair.
        await RecordAsync("Wilhelmina", NewName(), birth, street: "12 Mill Lane", system: "erp");
        Assert.Single(await Eventually.GetAsync(() => OpenAsync(first), open => open.Count > 0, TimeSpan.FromMinutes(1), Ct));

        await PatchAsync(first, """{"phones":[{"number":"+4915112345678"}]}""");
        var scans = await ScansAsync(s => s.Contains("changed"));
        Assert.Equal("full", scans[^1]);
        Assert.Single(scans, "full");

        for (var i = 0; i < 4; i++)
        {
            await RecordAsync("Otto", NewName(), NewBirth());
        }

        await ScansAsync(s => s.Count(mode => mode == "full") == 2);
        Assert.Single(await OpenAsync(first));
    }

    /// <summary>The modes of all completed scans, which nobody asked for, the newest first.</summary>
    private Task<List<string>> ScansAsync(Predicate<List<string>> until) => Eventually.GetAsync(
        async () =>
        {
            var scans = (await Api.CallAsync("v1/duplicate-scans?limit=100", Ct)).Data.Where(s => (string?)s["status"] == "completed").ToList();
            Assert.All(scans, s => Assert.Equal("svc:contacts", (string?)s["actor"]));
            return scans.OrderByDescending(s => (string)s["id"]!, StringComparer.Ordinal).Select(s => (string)s["mode"]!).ToList();
        },
        s => until(s), TimeSpan.FromMinutes(1), Ct);
}

/// <summary>With a threshold set.</summary>
public sealed class AutomaticMergeTests(MergingFixture fixture) : ScanningTest(fixture), IClassFixture<MergingFixture>
{
    [Fact]
    public async Task Only_a_pair_in_which_nothing_differs_is_merged_without_being_asked_about()
    {
        var (sure, ids, twins) = (NewName(), NewName(), NewName());
        var (birth, other) = (NewBirth(), NewBirth());
        var first = await RecordAsync("Wilhelmina", sure, email: $"{sure}@example.com");
        var second = await RecordAsync("Wilhelmina", sure, email: $"{sure}@example.com", system: "erp");
        var one = await RecordAsync("Augusta", ids, birth, $"{ids}@example.com");
        await RecordAsync("Augusta", ids, birth, $"{ids}@example.com");
        var twin = await RecordAsync("Castor", twins, other, $"{twins}@example.com");
        await RecordAsync("Pollux", twins, other, $"{twins}@example.com", system: "erp");

        var scan = await ScanAsync("full");
        Assert.Equal(("completed", 1), ((string?)scan["status"], (int)scan["merged"]!));
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
        var merge = Assert.Single((await Api.CallAsync($"v1/merges?customer_id={first}", Ct)).Data);
        Assert.Equal("svc:contacts", (string?)merge["actor"]);
        Assert.Single(await OpenAsync(one));
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{twin}", Ct)).Status);

        // Undone, it is not done again.
        await Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two after all"}""", Ct);
        await PatchAsync(first, """{"phones":[{"number":"+4915112345678"}]}""");
        Assert.Equal(0, (int)(await ScanAsync("full"))["merged"]!);
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
        Assert.Empty(await OpenAsync(first));
    }

    [Fact]
    public async Task Who_names_its_double_as_the_referrer_is_merged_with_it_unasked_and_does_not_refer_itself()
    {
        var (name, birth) = (NewName(), NewBirth());
        var first = await RecordAsync("Fidelio", name, birth, $"{name}@example.com");
        var second = await RecordAsync("Fidelio", name, birth, $"{name}@example.com", system: "erp");
        await PatchAsync(first, $$$"""{"source":{"type":"referral","referrer_id":"{{{second}}}"}}""");

        Assert.Equal("completed", (string?)(await ScanAsync("full"))["status"]);
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);
        var source = (await Api.CallAsync($"v1/customers/{first}", Ct))["source"]!;
        Assert.Equal(("enquiry", null), ((string?)source["type"], (string?)source["referrer_id"]));
        var merge = Assert.Single((await Api.CallAsync($"v1/merges?customer_id={first}", Ct)).Data);
        Assert.Equal("self_referral", (string?)merge["manifest"]!["fields"]!["source"]!["rule"]);
    }

    [Fact]
    public async Task Two_namesakes_with_extensions_side_by_side_are_not_merged_without_being_asked_about()
    {
        var (name, office) = (NewName(), $"+4930{Random.Shared.Next(1_000_000, 9_999_999)}");
        string[] namesakes = [await RecordAsync("Anna", name, birth: "", phone: $"{office}60"), await RecordAsync("Anna", name, birth: "", phone: $"{office}61", system: "erp")];
        Assert.Equal("completed", (string?)(await ScanAsync("full"))["status"]);
        foreach (var customer in namesakes)
        {
            Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{customer}", Ct)).Status);
        }
    }

    [Fact]
    public async Task Two_with_different_values_of_a_unique_field_are_merged_when_somebody_is_asked_only()
    {
        var field = $"u{Guid.NewGuid().ToString("n")[..12]}";
        var made = await Api.PostAsync("v1/custom-fields", $$"""{"name":"{{field}}","label":"Member","type":"text","unique":true}""", Ct);
        await Eventually.GetAsync(() => Api.CallAsync($"v1/custom-fields/{made["id"]}", Ct), f => (string?)f["uniqueness"] == "ready", TimeSpan.FromMinutes(1), Ct);
        var (name, birth) = (NewName(), NewBirth());
        var first = await RecordAsync("Rocco", name, birth, $"{name}@example.com");
        var second = await RecordAsync("Rocco", name, birth, $"{name}@example.com", system: "erp");
        await PatchAsync(first, $$$"""{"attributes":{"{{{field}}}":"1"}}""");
        await PatchAsync(second, $$$"""{"attributes":{"{{{field}}}":"2"}}""");

        Assert.Equal(("completed", 0), await MergedAsync());
        Assert.Single(await OpenAsync(first));
        Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);

        // It was for this field alone.
        await PatchAsync(second, $$$"""{"attributes":{"{{{field}}}":null}}""");
        Assert.Equal(("completed", 1), await MergedAsync());
        Assert.Equal((HttpStatusCode)308, (await Api.CallAsync($"v1/customers/{second}", Ct)).Status);

        async Task<(string?, int)> MergedAsync()
        {
            var scan = await ScanAsync("full");
            return ((string?)scan["status"], (int)scan["merged"]!);
        }
    }

    [Fact]
    public async Task Organizations_of_one_name_are_merged_when_somebody_is_asked_only_if_their_legal_forms_differ()
    {
        var (firm, other) = (NewName(), NewName());
        string[] same = [await FirmAsync($"{firm} GmbH", firm, "shop"), await FirmAsync($"{firm} G.m.b.H.", firm, "erp")];
        string[] two = [await FirmAsync($"{other} GmbH", other, "shop"), await FirmAsync($"{other} GmbH & Co. KG", other, "erp")];

        Assert.Equal("completed", (string?)(await ScanAsync("full"))["status"]);
        Assert.Equal([200, 308], await StatusesAsync(same));
        Assert.Equal([200, 200], await StatusesAsync(two));
        Assert.Single(await OpenAsync(two[0]));

        async Task<string> FirmAsync(string name, string mailbox, string system)
        {
            var answer = await Api.PutAsync($"v1/customers/by-external-id/{system}/{Guid.NewGuid():n}", $$$"""
                {"kind":"organization","name":"{{{name}}}","emails":[{"address":"{{{mailbox}}}@example.com"}],"source":{"type":"enquiry"},
                 "addresses":[{"lines":["7 {{{mailbox}}} Road"],"city":"Ware","postal_code":"SG12 9AB"}]}
                """, Ct);
            Assert.True(answer.Status == HttpStatusCode.Created, answer.ToString());
            return (string)answer["id"]!;
        }

        async Task<IReadOnlyList<int>> StatusesAsync(string[] customers)
        {
            var statuses = new List<int>();
            foreach (var customer in customers)
            {
                statuses.Add((int)(await Api.CallAsync($"v1/customers/{customer}", Ct)).Status);
            }

            return [.. statuses.Order()];
        }
    }

    [Fact]
    public async Task A_survivor_that_has_got_an_id_is_compared_anew_before_it_takes_in_another_one()
    {
        var (name, near) = (NewName(), NewName());
        var birth = NewBirth();
        var oldest = await RecordAsync("Leonore", name, birth, $"{name}@example.com", system: "erp");
        string[] shops = [await RecordAsync("Leonore", name, birth, $"{name}@example.com"), await RecordAsync("Leonore", name, birth, $"{name}@example.com")];
        // Father and son of one name, with one mailbox.
        string[] family = [await RecordAsync("Florestan", near, "1950-03-05", $"{near}@example.com"), await RecordAsync("Florestan", near, "1980-03-05", $"{near}@example.com", system: "erp")];

        Assert.Equal(1, (int)(await ScanAsync("full"))["merged"]!);
        Assert.Equal(0, (int)(await ScanAsync("full"))["merged"]!);
        var answers = new List<int>();
        foreach (var customer in shops)
        {
            answers.Add((int)(await Api.CallAsync($"v1/customers/{customer}", Ct)).Status);
        }

        Assert.Equal([200, 308], answers.Order());
        var survivor = (await Api.CallAsync($"v1/customers/{oldest}", Ct)).Body!;
        Assert.Single(survivor["external_ids"]!.AsArray(), e => (string?)e!["system"] == "shop");
        foreach (var customer in family)
        {
            Assert.Equal(HttpStatusCode.OK, (await Api.CallAsync($"v1/customers/{customer}", Ct)).Status);
        }
    }
}
