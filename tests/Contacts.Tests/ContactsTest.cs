using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Crm.Hosting.Auth;
using Grpc.Core;
using Grpc.Net.Client;
using Wire = Crm.Contracts.Contacts.V1;

namespace Contacts.Tests;

/// <summary>What the tests of Contacts say shortly.</summary>
public abstract class ContactsTest(ContactsFixture fixture)
{
    protected static CancellationToken Ct => TestContext.Current.CancellationToken;

    protected HttpClient Client { get; } = fixture.CreateClient("contacts");

    protected ContactsFixture Fixture => fixture;

    /// <summary>A word that no other test has.</summary>
    protected static string Unique() => Guid.NewGuid().ToString("n")[..12];

    protected static string NewEmail() => $"{Unique()}@example.com";

    protected Task<(HttpResponseMessage Response, JsonNode Body)> SendAsync(HttpMethod method, string path, string? json = null, params (string Name, string Value)[] headers) =>
        SendAsync(Client, method, path, json, headers);

    protected static async Task<(HttpResponseMessage Response, JsonNode Body)> SendAsync(HttpClient caller, HttpMethod method, string path, string? json = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
        {
            request.Content = new StringContent(json, Encoding.UTF8, method == HttpMethod.Patch ? "application/merge-patch+json" : "application/json");
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        // Asked first, as curl does: a body that is too large is refused before it is sent.
        request.Headers.ExpectContinue = json?.Length > 100_000;
        var response = await caller.SendAsync(request, Ct);
        var text = await response.Content.ReadAsStringAsync(Ct);
        return (response, text.Length == 0 ? new JsonObject() : JsonNode.Parse(text)!);
    }

    /// <summary>Whose changes hold whatever the version is.</summary>
    protected HttpClient As(TokenSubject subject)
    {
        var client = Fixture.CreateClient("contacts");
        client.DefaultRequestHeaders.Authorization = new("Bearer", Fixture.Token(subject));
        client.DefaultRequestHeaders.IfMatch.Add(EntityTagHeaderValue.Any);
        return client;
    }

    protected static async Task<JsonNode> GetAsync(HttpClient caller, string path)
    {
        var (response, body) = await SendAsync(caller, HttpMethod.Get, path);
        Assert.True(response.StatusCode == HttpStatusCode.OK, body.ToJsonString());
        return body;
    }

    protected async Task<JsonNode> CreateAsync(string json)
    {
        var (response, body) = await SendAsync(HttpMethod.Post, "/v1/customers", json);
        Assert.True(response.IsSuccessStatusCode, body.ToJsonString());
        return body;
    }

    protected Task<JsonNode> CreatePersonAsync(string given = "Ada", string family = "Byron", string? email = null) =>
        CreateAsync($$$"""{"kind":"person","given_name":"{{{given}}}","family_name":"{{{family}}}","emails":[{"address":"{{{email ?? NewEmail()}}}"}],"source":{"type":"enquiry"}}""");

    protected static void AssertProblem(HttpResponseMessage response, JsonNode body, int status, string code, string? pointer = null)
    {
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(code, (string?)body["code"]);
        Assert.Equal(status, (int?)body["status"]);
        Assert.Equal(32, ((string?)body["trace_id"])?.Length);
        Assert.DoesNotContain("   at ", body.ToJsonString(), StringComparison.Ordinal);
        if (pointer is not null)
        {
            Assert.Contains(pointer, body["errors"]!.AsArray().Select(e => (string?)e!["pointer"]));
        }
    }

    protected Wire.Contacts.ContactsClient Grpc()
    {
        var channel = GrpcChannel.ForAddress(fixture.Platform["contacts"].GrpcAddress!);
        return new(channel);
    }

    protected Metadata AsUser(params string[] scopes) => new() { { "authorization", $"Bearer {fixture.Token(scopes)}" } };
}
