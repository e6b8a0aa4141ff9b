using System.Net;
using System.Text.Json.Nodes;

namespace Campaigns.Tests;

public sealed class SegmentDefinitionTests(CampaignsFixture fixture)
{
    public static TheoryData<string, string, string> BadDefinitions => new()
    {
        { """{"all":[{"fact":"orders.count","gte":2},{"fact":"orders.days_since_last","gt":"90"}]}""", "/definition/all/1/gt", "wrong_type" },
        { """{"all":[{"fact":"orders.count","gte":2},{"fact":"orders.colour","eq":1}]}""", "/definition/all/1/fact", "unknown_fact" },
        { """{"fact":7,"eq":1}""", "/definition/fact", "wrong_type" },
        { """{"fact":"attributes.","eq":1}""", "/definition/fact", "unknown_fact" },
        { """{"fact":"consent.fax.marketing","eq":"granted"}""", "/definition/fact", "unknown_fact" },
        { """{"fact":"country","gt":"US"}""", "/definition/gt", "wrong_operator" },
        { """{"not":{"any":[{"fact":"orders.count","contains":"1"}]}}""", "/definition/not/any/0/contains", "wrong_operator" },
        { """{"fact":"country","like":"U%"}""", "/definition/like", "unknown_field" },
        { """{"fact":"country","eq/~":"U"}""", "/definition/eq~1~0", "unknown_field" },
        { """{"fact":"country","eq":"US","ne":"GB"}""", "/definition/ne", "ambiguous" },
        { """{"fact":"country"}""", "/definition", "required" },
        { """{"fact":"country","eq":null}""", "/definition/eq", "wrong_type" },
        { """{"fact":"country","eq":""}""", "/definition/eq", "too_short" },
        { """{"fact":"country","eq":"a\u0000b"}""", "/definition/eq", "bad_text" },
        { """{"fact":"country","eq":"\ud800"}""", "/definition", "bad_text" },
        { """{"fact":"country","in":"US"}""", "/definition/in", "wrong_type" },
        { """{"fact":"country","in":[]}""", "/definition/in", "too_few" },
        { """{"fact":"country","in":["US",3]}""", "/definition/in/1", "wrong_type" },
        { """{"fact":"country","exists":"yes"}""", "/definition/exists", "wrong_type" },
        { """{"fact":"lifecycle","eq":"happy"}""", "/definition/eq", "unknown_value" },
        { """{"fact":"consent.email.marketing","in":["granted","maybe"]}""", "/definition/in/1", "unknown_value" },
        { """{"fact":"orders.count","eq":1.5}""", "/definition/eq", "wrong_type" },
        { """{"fact":"orders.count","eq":99999999999999999999}""", "/definition/eq", "wrong_type" },
        { """{"fact":"orders.spend","gt":100}""", "/definition/currency", "required" },
        { """{"fact":"orders.spend","currency":"usd","gt":100}""", "/definition/currency", "wrong_format" },
        { """{"fact":"orders.count","currency":"USD","gt":100}""", "/definition/currency", "unknown_field" },
        { """{"fact":"orders.last_at","gt":"1998-06-30"}""", "/definition/gt", "wrong_type" },
        { """{"fact":"attributes.score","gt":true}""", "/definition/gt", "wrong_type" },
        { """{"fact":"attributes.score","eq":{"a":1}}""", "/definition/eq", "wrong_type" },
        { """{"fact":"attributes.score","eq":1e400}""", "/definition/eq", "wrong_type" },
        { """{"fact":"attributes.budget","currency":"eur","gt":100}""", "/definition/currency", "wrong_format" },
        { """{"fact":"attributes.budget","gt":"100","currency":"EUR"}""", "/definition/gt", "wrong_type" },
        { """{"fact":"attributes.budget","in":[100],"currency":"EUR"}""", "/definition/in", "wrong_operator" },
        { """{"all":[]}""", "/definition/all", "too_few" },
        { """{"any":{}}""", "/definition/any", "wrong_type" },
        { """{"none":[]}""", "/definition/none", "unknown_field" },
        { """{}""", "/definition", "required" },
        { """{"all":[{"fact":"country","eq":"US"}],"any":[{"fact":"country","eq":"US"}]}""", "/definition", "ambiguous" },
        { """[]""", "/definition", "wrong_type" },
        { """{"all":["country"]}""", "/definition/all/0", "wrong_type" },
    };

    [Theory]
    [MemberData(nameof(BadDefinitions))]
    public async Task A_bad_definition_is_refused_with_the_place_where_it_is_bad(string definition, string pointer, string code)
    {
        foreach (var path in (string[])["/v1/segments", "/v1/segments/preview"])
        {
            var name = path.EndsWith("preview", StringComparison.Ordinal) ? "" : "\"name\":\"bad\",";
            var response = await fixture.Campaigns.PostAsync(path, CampaignsFixture.Json($$$"""{{{{name}}}"definition":{{{definition}}}}"""));
            await AssertProblemAsync(response, HttpStatusCode.BadRequest, "validation_failed", pointer, code);
        }
    }

    [Fact]
    public async Task Ten_levels_and_fifty_conditions_are_the_most()
    {
        var condition = """{"fact":"country","eq":"US"}""";
        await AssertPreviewAsync(Nested(9), null);
        await AssertPreviewAsync(Nested(10), "too_deep");
        await AssertPreviewAsync(Listed(50), null);
        await AssertPreviewAsync(Listed(51), "too_many");
        await AssertPreviewAsync($$$"""{"any":[{{{Listed(25)}}},{{{Listed(26)}}}]}""", "too_many");

        string Nested(int levels) => string.Concat(Enumerable.Repeat("{\"not\":", levels)) + condition + new string('}', levels);
        string Listed(int count) => $$$"""{"all":[{{{string.Join(',', Enumerable.Repeat(condition, count))}}}]}""";
    }

    [Theory]
    [InlineData("1998-13-01")]
    [InlineData("yesterday")]
    [InlineData("1998-06-30T12:00:00")]
    [InlineData("0001-01-01")]
    public async Task As_of_is_a_date_or_an_instant_with_its_zone(string asOf)
    {
        var response = await fixture.Campaigns.PostAsync("/v1/segments/preview", CampaignsFixture.Json($$$"""{"as_of":"{{{asOf}}}","definition":{"fact":"country","eq":"US"}}"""));
        await AssertProblemAsync(response, HttpStatusCode.BadRequest, "validation_failed", "/as_of", "wrong_format");
    }

    internal static async Task AssertProblemAsync(HttpResponseMessage response, HttpStatusCode status, string code, string? pointer = null, string? fieldCode = null)
    {
        var problem = await CampaignsFixture.BodyAsync(response);
        Assert.True(status == response.StatusCode, problem.ToString());
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        Assert.Equal(code, (string)problem["code"]!);
        if (pointer is not null)
        {
            Assert.Contains(problem["errors"]!.AsArray(), e => (string)e!["pointer"]! == pointer && (string)e["code"]! == fieldCode);
        }
    }

    private async Task AssertPreviewAsync(string definition, string? code)
    {
        var response = await fixture.Campaigns.PostAsync("/v1/segments/preview", CampaignsFixture.Json($$$"""{"definition":{{{definition}}}}"""));
        var body = await CampaignsFixture.BodyAsync(response);
        Assert.Equal(code, (string?)body["errors"]?[0]?["code"]);
    }
}
