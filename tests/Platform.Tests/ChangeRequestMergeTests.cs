using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Crm.Testing;

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

    private async Task<string> NewAsync(string name) => (string)(await OkAsync(Api.PostAsync(
        "v1/customers?allow_duplicate=true&reason=another+one", $$$"""{"kind":"person","given_name":"{{{name}}}","department":"sales","source":{"type":"enquiry"}}""", Ct)))["id"]!;

    private async Task<HttpClient> OfDepartmentAsync(HttpClient admin, string department)
    {
        var key = await OkAsync(admin.PostAsync("v1/keys", $$"""{"name":"{{department}}","scopes":["customers:read","customers:write"],"departments":["{{department}}"]}""", Ct));
        var client = Fixture.Platform.CreateClient(null);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (string?)key["key"]);
        return client;
    }

    private static async Task<JsonNode> OkAsync(Task<JsonAnswer> call)
    {
        var answer = await call;
        Assert.True((int)answer.Status < 300, answer.ToString());
        return answer.Body!;
    }
}
