namespace Contacts.Tests;

public sealed class ConsentTests(ContactsFixture fixture) : ContactsTest(fixture)
{
    [Fact]
    public async Task The_latest_statement_holds_and_the_whole_history_stays()
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","legal_basis":"consent","source":"web_form","wording":"v1","at":"2026-01-01T00:00:00Z"}""");
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"withdrawn","source":"call","at":"2026-02-01T00:00:00Z"}""");
        await SendAsync(HttpMethod.Post, path, """{"channel":"email","purpose":"marketing","state":"granted","source":"late paper form","at":"2025-12-01T00:00:00Z"}""");
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        var current = Assert.Single(consents["current"]!.AsArray());
        Assert.Equal("withdrawn", (string?)current!["state"]);
        Assert.Equal(3, consents["history"]!.AsArray().Count);
    }

    [Theory]
    [InlineData("""{"channel":"pigeon","purpose":"marketing","state":"granted","source":"x"}""", "/channel")]
    [InlineData("""{"channel":"email","purpose":"Marketing!","state":"granted","source":"x"}""", "/purpose")]
    [InlineData("""{"channel":"email","purpose":"marketing","source":"x"}""", "/state")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted"}""", "/source")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted","source":"x","at":"2999-01-01T00:00:00Z"}""", "/at")]
    [InlineData("""{"channel":"email","purpose":"marketing","state":"granted","source":"x","at":"2026-01-01"}""", "/at")]
    public async Task A_bad_statement_is_refused_with_its_place(string body, string pointer)
    {
        var path = $"/v1/customers/{(await CreatePersonAsync())["id"]}/consents";
        var (response, problem) = await SendAsync(HttpMethod.Post, path, body);
        AssertProblem(response, problem, 400, "validation_failed", pointer);
        var (_, consents) = await SendAsync(HttpMethod.Get, path);
        Assert.Empty(consents["history"]!.AsArray());
    }
}
