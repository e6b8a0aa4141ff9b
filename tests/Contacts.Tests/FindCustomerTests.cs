using System.Net;
using System.Text.Json.Nodes;

namespace Contacts.Tests;

public sealed class FindCustomerTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task A_page_walk_sees_every_customer_once_while_others_are_created()
    {
        var department = $"d{Unique()}";
        var expected = new HashSet<string>();
        for (var i = 0; i < 30; i++)
        {
            expected.Add((string)(await CreateAsync($$"""{"kind":"person","given_name":"P{{i}}","department":"{{department}}","source":{"type":"enquiry"} }"""))["id"]!);
        }

        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var (_, page) = await SendAsync(HttpMethod.Get, $"/v1/customers?department={department}&limit=7{(cursor is null ? "" : $"&cursor={cursor}")}");
            seen.AddRange(page["data"]!.AsArray().Select(c => (string)c!["id"]!));
            cursor = (string?)page["next_cursor"];
            Assert.Equal(cursor is not null, (bool)page["has_more"]!);
            await CreateAsync($$"""{"kind":"person","given_name":"Late","department":"{{department}}","source":{"type":"enquiry"} }""");
        }
        while (cursor is not null);
        Assert.Equal(seen.Count, seen.Distinct().Count());
        Assert.Subset(seen.ToHashSet(), expected);
    }

    [Theory]
    [InlineData("limit=101", "invalid_parameter", "limit")]
    [InlineData("limit=0", "invalid_parameter", "limit")]
    [InlineData("limit=ten", "invalid_parameter", "limit")]
    [InlineData("cursor=nonsense", "invalid_parameter", "cursor")]
    [InlineData("colour=red", "unknown_parameter", "colour")]
    [InlineData("lifecycle=robot", "invalid_parameter", "lifecycle")]
    [InlineData("updated_at[gte]=yesterday", "invalid_parameter", "updated_at[gte]")]
    [InlineData("q=%00", "invalid_parameter", "q")]
    public async Task A_wrong_query_parameter_is_a_400_that_names_it(string query, string code, string name)
    {
        var (response, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}");
        AssertProblem(response, problem, 400, code, name);
    }

    [Fact]
    public async Task Search_finds_by_prefix_typo_email_phone_and_external_id()
    {
        var family = $"Quackenbush{Unique()[..4]}";
        var (email, external) = (NewEmail(), Unique());
        var phone = $"+4420{Random.Shared.Next(10_000_000, 99_999_999)}";
        var customer = await CreateAsync($$"""
            {"kind":"person","given_name":"Zoë","family_name":"{{family}}","emails":[{"address":"{{email}}"}],"phones":[{"number":"{{phone}}"}],
             "external_ids":[{"system":"shop","id":"{{external}}"}],"source":{"type":"enquiry"} }
            """);
        foreach (var q in new[] { "zoe quack", family[..8].ToUpperInvariant(), family.Replace("ck", "k", StringComparison.Ordinal), email.ToUpperInvariant(), phone, external })
        {
            var (response, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?q={Uri.EscapeDataString(q)}");
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.True(found["data"]!.AsArray().Any(c => (string?)c!["id"] == (string?)customer["id"]), $"'{q}' does not find {family}.");
        }
    }

    [Fact]
    public async Task Exact_filters_find_by_email_and_phone()
    {
        var email = NewEmail();
        var phone = $"+4420{Random.Shared.Next(10_000_000, 99_999_999)}";
        var customer = await CreateAsync($$"""{"kind":"person","given_name":"Ex","emails":[{"address":"{{email}}"}],"phones":[{"number":"{{phone}}"}],"source":{"type":"enquiry"} }""");
        foreach (var query in new[] { $"email={email}", $"phone={Uri.EscapeDataString(phone)}" })
        {
            var (_, found) = await SendAsync(HttpMethod.Get, $"/v1/customers?{query}");
            Assert.Equal((string?)customer["id"], (string?)Assert.Single(found["data"]!.AsArray())!["id"]);
        }
    }

    [Theory]
    [InlineData("cus_00000000000000000000000000")]
    [InlineData("cus_zzzzzzzzzzzzzzzzzzzzzzzzzz")]
    [InlineData("1")]
    [InlineData("' OR 1=1 --")]
    public async Task An_unknown_or_malformed_id_is_404(string id)
    {
        var (response, problem) = await SendAsync(HttpMethod.Get, $"/v1/customers/{Uri.EscapeDataString(id)}");
        AssertProblem(response, problem, 404, "not_found");
    }

    [Fact]
    public async Task A_known_version_is_not_sent_again()
    {
        var customer = await CreatePersonAsync();
        var (response, _) = await SendAsync(HttpMethod.Get, $"/v1/customers/{customer["id"]}", null, ("If-None-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.NotModified, response.StatusCode);
    }

    [Fact]
    public async Task Without_a_token_401_and_without_the_scope_403_naming_it()
    {
        using var anonymous = new HttpClient { BaseAddress = Fixture.Platform["contacts"].HttpAddress };
        var refused = await anonymous.GetAsync("/v1/customers", Ct);
        AssertProblem(refused, JsonNode.Parse(await refused.Content.ReadAsStringAsync(Ct))!, 401, "unauthenticated");
        using var reader = Fixture.CreateClient("contacts", "customers:read");
        var forbidden = await reader.PostAsync("/v1/customers", new StringContent("""{"kind":"person","given_name":"X"}""", System.Text.Encoding.UTF8, "application/json"), Ct);
        var problem = JsonNode.Parse(await forbidden.Content.ReadAsStringAsync(Ct))!;
        AssertProblem(forbidden, problem, 403, "insufficient_scope");
        Assert.Contains("customers:write", (string?)problem["detail"], StringComparison.Ordinal);
    }
}
