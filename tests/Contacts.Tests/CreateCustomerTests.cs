using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Contacts.Tests;

public sealed class CreateCustomerTests(ContactsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly HttpClient _contacts = fixture.CreateClient("contacts");

    [Fact]
    public async Task A_created_customer_reads_back_as_it_was_sent()
    {
        var email = $"{Guid.NewGuid():n}@Example.COM";
        var response = await _contacts.PostAsync("/v1/customers", Json($$$"""
            {"kind":"person","given_name":"Ada","family_name":"Byron","emails":[{"address":"{{{email}}}","type":"work","primary":true}],
             "addresses":[{"lines":["12 St James's Sq"],"city":"London","postal_code":"SW1Y 4JH","country":"GB"}],
             "birth_date":"1815-12-10","locale":"en-GB","time_zone":"Europe/London","lifecycle":"prospect","source":{"type":"enquiry"},
             "department":"sales","tier":"standard","attributes":{"newsletter_topic":"maths"}}
            """), Ct);
        Assert.Equal(HttpStatusCode.Created, response.StatusCode);
        var read = await _contacts.GetAsync(response.Headers.Location, Ct);
        Assert.Equal("\"1\"", read.Headers.ETag!.Tag);
        var customer = await BodyAsync(read);
        Assert.Equal("Ada Byron", (string?)customer["display_name"]);
        Assert.Equal(email[..^11] + "example.com", (string?)customer["emails"]![0]!["address"]);
        Assert.Equal("1815-12-10", (string?)customer["birth_date"]);
        Assert.Equal("maths", (string?)customer["attributes"]!["newsletter_topic"]);
    }

    private static StringContent Json(string text) => new(text, System.Text.Encoding.UTF8, "application/json");

    private static async Task<JsonNode> BodyAsync(HttpResponseMessage response) => JsonNode.Parse(await response.Content.ReadAsStringAsync(Ct))!;
}
