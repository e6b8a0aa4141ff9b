using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Crm.Testing;
using static Crm.Testing.JsonCalls;

namespace Platform.Tests;

/// <summary>Change requests over a merge of their customer, its undo, and an erasure.</summary>
public sealed class ChangeRequestMergeTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task A_request_follows_its_customer_through_a_merge_and_back_and_goes_with_an_erasure()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "support");
        using var owner = await OfDepartmentAsync(admin, "sales");
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        using var content = new StringContent("""{"given_name":"Annette"}""", System.Text.Encoding.UTF8, "application/merge-patch+json");
        using var patch = new HttpRequestMessage(HttpMethod.Patch, $"v1/customers/{twin}") { Content = content };
        patch.Headers.TryAddWithoutValidation("If-Match", "*");
        using var accepted = await asker.SendAsync(patch, Ct);
        Assert.Equal(202, (int)accepted.StatusCode);
        var request = accepted.Headers.Location!.OriginalString.TrimStart('/');

        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        Assert.Equal(survivor, (string?)(await OkAsync(owner.CallAsync(request, Ct)))["customer_id"]);
        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        Assert.Equal(twin, (string?)(await OkAsync(owner.CallAsync(request, Ct)))["customer_id"]);
        Assert.Equal("approved", (string?)(await OkAsync(owner.PostAsync($"{request}/approve", "{}", Ct)))["status"]);
        Assert.Equal("Annette", (string?)(await OkAsync(Api.CallAsync($"v1/customers/{twin}", Ct)))["given_name"]);

        using var reason = new StringContent("""{"reason":"She asked us to"}""", System.Text.Encoding.UTF8, "application/json");
        using var erase = new HttpRequestMessage(HttpMethod.Post, $"v1/customers/{twin}/erasures") { Content = reason };
        erase.Headers.TryAddWithoutValidation("If-Match", "*");
        using var erased = await admin.SendAsync(erase, Ct);
        Assert.Equal(202, (int)erased.StatusCode);
        Assert.Equal(404, (int)(await owner.CallAsync(request, Ct)).Status);
    }

    [Fact]
    public async Task A_merge_of_another_departments_customers_and_its_undo_are_made_when_that_has_approved_them()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "support");
        using var colleague = await OfDepartmentAsync(admin, "support");
        using var owner = await OfDepartmentAsync(admin, "sales");
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));

        var preview = await OkAsync(asker.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var body = $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""";
        var asked = await asker.PostAsync("v1/merges", body, Ct);
        Assert.Equal((202, "merge_customers", "pending"), ((int)asked.Status, (string?)asked["operation"], (string?)asked["status"]));
        Assert.DoesNotContain((string)preview["token"]!, asked.Body!.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal((twin, "sales"), ((string?)asked["request"]!["absorbed_ids"]![0], (string?)asked["request"]!["departments"]![0]));
        // The same token asks once.
        Assert.Equal((string?)asked["id"], (string?)(await asker.PostAsync("v1/merges", body, Ct))["id"]);
        var request = $"v1/change-requests/{asked["id"]}";
        Assert.Equal("department_forbidden", (await colleague.PostAsync($"{request}/approve", "{}", Ct)).Code);
        Assert.Equal(200, (int)(await Api.CallAsync($"v1/customers/{twin}", Ct)).Status);
        Assert.Equal("approved", (string?)(await OkAsync(owner.PostAsync($"{request}/approve", "{}", Ct)))["status"]);
        var merge = (await OkAsync(Api.CallAsync($"v1/merges?customer_id={twin}", Ct)))["data"]!.AsArray().Single()!;
        Assert.Equal((survivor, "Same person"), ((string?)merge["survivor_id"], (string?)merge["reason"]));
        foreach (var id in new[] { survivor, twin })
        {
            var entry = (await OkAsync(Api.CallAsync($"v1/customers/{id}/history", Ct)))["data"]![0]!;
            Assert.Equal(("merged", (string?)asked["requested_by"], (string?)asked["id"]), ((string?)entry["action"], (string?)entry["requested_by"], (string?)entry["change_request_id"]));
            Assert.NotEqual((string?)entry["actor"], (string?)entry["requested_by"]);
        }

        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => (string?)m["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        var undo = await OkAsync(asker.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        Assert.Equal(("undo_merge", (string?)merge["id"]), ((string?)undo["operation"], (string?)undo["request"]!["merge_id"]));
        Assert.Equal("completed", (string?)(await OkAsync(Api.CallAsync($"v1/merges/{merge["id"]}", Ct)))["status"]);
        await OkAsync(owner.PostAsync($"v1/change-requests/{undo["id"]}/approve", "{}", Ct));
        Assert.Equal("Anne", (string?)(await OkAsync(Api.CallAsync($"v1/customers/{twin}", Ct)))["given_name"]);
    }

    [Fact]
    public async Task A_merge_over_two_departments_is_made_when_both_have_approved_it_and_rejected_when_one_rejects_it()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "support");
        using var sales = await OfDepartmentAsync(admin, "sales");
        using var marketing = await OfDepartmentAsync(admin, "marketing");
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne", "marketing"));
        var preview = await OkAsync(asker.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var asked = await OkAsync(asker.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        var request = $"v1/change-requests/{asked["id"]}";
        for (var n = 0; n < 2; n++)
        {
            var half = await OkAsync(sales.PostAsync($"{request}/approve", "{}", Ct));
            Assert.Equal(("pending", "sales"), ((string?)half["status"], (string?)half["approvals"]!.AsArray().Single()!["department"]));
        }

        Assert.Empty((await OkAsync(Api.CallAsync($"v1/merges?customer_id={twin}", Ct)))["data"]!.AsArray());
        var whole = await OkAsync(marketing.PostAsync($"{request}/approve", "{}", Ct));
        Assert.Equal("approved", (string?)whole["status"]);
        Assert.Equal(["sales", "marketing"], whole["approvals"]!.AsArray().Select(a => (string?)a!["department"]));
        var merge = (await OkAsync(Api.CallAsync($"v1/merges?customer_id={twin}", Ct)))["data"]!.AsArray().Single()!;
        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => (string?)m["status"] == "completed", TimeSpan.FromMinutes(1), Ct);

        var undo = $"v1/change-requests/{(await OkAsync(asker.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct)))["id"]}";
        Assert.Equal("pending", (string?)(await OkAsync(sales.PostAsync($"{undo}/approve", "{}", Ct)))["status"]);
        Assert.Equal("rejected", (string?)(await OkAsync(marketing.PostAsync($"{undo}/reject", """{"reason":"One person"}""", Ct)))["status"]);
        Assert.Equal("completed", (string?)(await OkAsync(Api.CallAsync($"v1/merges/{merge["id"]}", Ct)))["status"]);
    }

    [Fact]
    public async Task A_closed_department_gets_its_record_merged_with_one_of_another_that_does_not_see_it()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "legal");
        using var sales = await OfDepartmentAsync(admin, "sales");
        foreach (var (ofSurvivor, ofTwin) in new[] { ("sales", "legal"), ("legal", "sales") })
        {
            var (survivor, twin) = (await NewAsync("Ann", ofSurvivor), await NewAsync("Anne", ofTwin));
            var preview = await OkAsync(asker.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
            var asked = await OkAsync(asker.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
            var approved = await OkAsync(sales.PostAsync($"v1/change-requests/{asked["id"]}/approve", "{}", Ct));
            Assert.Equal("approved", (string?)approved["status"]);
            Assert.Null(approved["request"]);
            Assert.Equal(survivor, (string?)(await OkAsync(Api.CallAsync($"v1/merges?customer_id={twin}", Ct)))["data"]!.AsArray().Single()!["survivor_id"]);
        }
    }

    [Fact]
    public async Task A_merge_that_waits_is_outdated_by_a_change_of_any_of_its_customers()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "support");
        using var owner = await OfDepartmentAsync(admin, "sales");
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var preview = await OkAsync(asker.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var asked = await OkAsync(asker.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        await OkAsync(owner.PatchAsync($"v1/customers/{twin}", """{"locale":"en-GB"}""", "*", Ct));
        Assert.Equal("outdated", (string?)(await OkAsync(asker.CallAsync($"v1/change-requests/{asked["id"]}", Ct)))["status"]);
        Assert.Equal("change_request_outdated", (await owner.PostAsync($"v1/change-requests/{asked["id"]}/approve", "{}", Ct)).Code);
        Assert.Equal(200, (int)(await Api.CallAsync($"v1/customers/{twin}", Ct)).Status);
    }

    [Fact]
    public async Task A_deletion_that_waits_is_outdated_by_a_merge_and_one_of_the_survivor_takes_the_absorbed_with_it()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        using var asker = await OfDepartmentAsync(admin, "support");
        using var owner = await OfDepartmentAsync(admin, "sales");
        var (survivor, twin) = (await NewAsync("Ann"), await NewAsync("Anne"));
        var overtaken = await OkAsync(asker.CallAsync(HttpMethod.Delete, $"v1/customers/{twin}", headers: [("If-Match", "*")], ct: Ct));
        Assert.Equal(("delete_customer", "pending"), ((string?)overtaken["operation"], (string?)overtaken["status"]));
        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        Assert.Equal("outdated", (string?)(await OkAsync(owner.CallAsync($"v1/change-requests/{overtaken["id"]}", Ct)))["status"]);

        await Eventually.GetAsync(() => Api.CallAsync($"v1/merges/{merge["id"]}", Ct), m => (string?)m["status"] == "completed", TimeSpan.FromMinutes(1), Ct);
        var asked = await OkAsync(asker.CallAsync(HttpMethod.Delete, $"v1/customers/{survivor}", headers: [("If-Match", "*")], ct: Ct));
        Assert.Equal("approved", (string?)(await OkAsync(owner.PostAsync($"v1/change-requests/{asked["id"]}/approve", "{}", Ct)))["status"]);
        foreach (var id in new[] { survivor, twin })
        {
            Assert.Equal("customer_deleted", (await Api.CallAsync($"v1/customers/{id}", Ct)).Code);
        }

        await OkAsync(owner.PostAsync($"v1/recycle-bin/{survivor}/restore", "{}", Ct));
        Assert.Equal("Ann", (string?)(await OkAsync(Api.CallAsync($"v1/customers/{survivor}", Ct)))["given_name"]);
    }

    [Fact]
    public async Task A_grant_of_one_customer_rests_while_it_is_merged_and_shows_nobody_the_survivor()
    {
        using var admin = Fixture.Platform.CreateClient("admin");
        var department = $"d-{Guid.NewGuid():n}";
        using var guest = await OfDepartmentAsync(admin, department);
        var (survivor, twin) = (await NewAsync("Ann", "legal"), await NewAsync("Anne", "legal"));
        Assert.Equal(404, (int)(await guest.CallAsync($"v1/customers/{twin}", Ct)).Status);
        await OkAsync(admin.PostAsync("v1/grants", $$"""{"owner_department":"legal","grantee_department":"{{department}}","scope":"customer","customer_id":"{{twin}}","access":"read","reason":"Theirs"}""", Ct));
        Assert.Equal("Anne", (string?)(await OkAsync(guest.CallAsync($"v1/customers/{twin}", Ct)))["given_name"]);
        Assert.Equal("Anne", (string?)(await OkAsync(guest.CallAsync($"v1/customers/{twin}/overview", Ct)))["customer"]!["given_name"]);

        var preview = await OkAsync(Api.PostAsync("v1/merge-previews", $$"""{"customer_ids":["{{twin}}"],"survivor_id":"{{survivor}}"}""", Ct));
        var merge = await OkAsync(Api.PostAsync("v1/merges", $$"""{"token":"{{preview["token"]}}","reason":"Same person"}""", Ct));
        foreach (var path in new[] { $"v1/customers/{twin}", $"v1/customers/{survivor}", $"v1/customers/{survivor}/overview" })
        {
            Assert.Equal(404, (int)(await guest.CallAsync(path, Ct)).Status);
        }

        await OkAsync(Api.PostAsync($"v1/merges/{merge["id"]}/undo", """{"reason":"Two persons"}""", Ct));
        Assert.Equal("Anne", (string?)(await OkAsync(guest.CallAsync($"v1/customers/{twin}", Ct)))["given_name"]);
        Assert.Equal(404, (int)(await guest.CallAsync($"v1/customers/{survivor}", Ct)).Status);
    }

    private async Task<string> NewAsync(string name, string department = "sales") => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"person","given_name":"{{{name}}}","department":"{{{department}}}","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private async Task<HttpClient> OfDepartmentAsync(HttpClient admin, string department)
    {
        var key = await OkAsync(admin.PostAsync("v1/keys", $$"""{"name":"{{department}}","scopes":["customers:read","customers:write","merges:read","merges:write"],"departments":["{{department}}"]}""", Ct));
        var client = Fixture.Platform.CreateClient(null);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (string?)key["key"]);
        return client;
    }
}
