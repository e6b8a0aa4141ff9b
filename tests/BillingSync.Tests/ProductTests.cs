using System.Net;
using System.Text.Json.Nodes;

namespace BillingSync.Tests;

public sealed class ProductTests(BillingFixture fixture)
{
    private readonly HttpClient _billing = fixture.Billing;

    [Fact]
    public async Task A_product_is_created_then_unchanged_then_replaced_whole()
    {
        var path = Http.NewPath("products");
        const string Full = """{"sku":"CD-1","name":"Blue","description":"A record\nof songs","unit_price":{"amount_minor":1195,"currency":"USD"},"active":true}""";
        var created = await _billing.PutAsync(path, Full);
        Assert.Equal("created", (string?)created["result"]);
        Assert.Equal("unchanged", (string?)(await _billing.PutAsync(path, Full, HttpStatusCode.OK))["result"]);
        var updated = await _billing.PutAsync(path, """{"sku":"CD-1","name":"Blue","active":false}""", HttpStatusCode.OK);
        Assert.Equal("updated", (string?)updated["result"]);
        Assert.Null(updated["unit_price"]);
        Assert.Null(updated["description"]);
        var read = await _billing.GetJsonAsync($"/v1/products/{(string)created["id"]!}");
        Assert.Equal(2, (long)read["version"]!);
        Assert.False((bool)read["active"]!);
        Assert.True(JsonNode.DeepEquals(read, await _billing.GetJsonAsync(path)));
        Assert.Contains((await _billing.GetJsonAsync("/v1/products?limit=100"))["data"]!.AsArray(), p => (string?)p!["id"] == (string?)created["id"]);
    }

    [Fact]
    public async Task Fifty_equal_puts_at_once_make_one_product()
    {
        var path = Http.NewPath("products");
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(async _ =>
        {
            using var response = await _billing.SendAsync(HttpMethod.Put, path, """{"sku":"CD-2","name":"Red"}""");
            return (response.StatusCode, Id: (string?)(await response.BodyAsync())["id"]);
        }));
        Assert.Single(answers, a => a.StatusCode == HttpStatusCode.Created);
        Assert.Equal(49, answers.Count(a => a.StatusCode == HttpStatusCode.OK));
        Assert.Single(answers.Select(a => a.Id).Distinct());
    }

    [Theory]
    [InlineData("""{"name":"Blue"}""", "/sku", "required")]
    [InlineData("""{"sku":"a"}""", "/name", "required")]
    [InlineData("""{"sku":"a","name":"b","unit_price":{"amount_minor":-1,"currency":"USD"}}""", "/unit_price/amount_minor", "out_of_range")]
    public async Task A_product_that_is_not_valid_is_refused_at_its_field(string body, string pointer, string code) =>
        Http.HasError(await _billing.PutAsync(Http.NewPath("products"), body, HttpStatusCode.BadRequest), "validation_failed", pointer, code);
}
