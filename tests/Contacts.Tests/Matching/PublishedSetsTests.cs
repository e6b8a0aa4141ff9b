using Crm.Runner.Matching;
using Crm.Testing;

namespace Contacts.Tests.Matching;

/// <summary>The bands of ../shared/product/analytics.md (d), reached with the defaults and without labels.</summary>
public sealed class PublishedSetsTests
{
    [Theory]
    [InlineData("febrl1", null, 0.99)]
    [InlineData("febrl1", "names,birth_date,address", 0.99)]
    [InlineData("febrl2", null, 0.99)]
    [InlineData("febrl2", "names,birth_date,address", 0.99)]
    [InlineData("febrl3", null, 0.9929)]
    [InlineData("febrl3", "names,birth_date,address", 0.99)]
    [InlineData("febrl3", "names,address", 0.99)]
    [InlineData("RLdata500", null, 0.98)]
    [InlineData("restaurant", null, 0.864)]
    public void A_published_set_reaches_its_band(string set, string? fields, double f1)
    {
        var records = LabelledRecords.Read(SharedData.Require($"data/{set}.csv"), fields?.Split(','));
        var result = MatchEvaluation.Of(records);
        TestContext.Current.TestOutputHelper?.WriteLine(result.ToString());
        Assert.True(result.F1 >= f1, $"{result}");
        Assert.True(result.PairCompleteness >= 0.98, $"{result}");
        Assert.True(result.CandidateShare <= 0.01, $"{result}");
        Assert.True(result.AutoPrecision >= 0.999, $"{result}");
        Assert.True(result.AutoPairs >= result.TruePairs / 4, $"{result}");
    }

    [Fact]
    public void Names_and_a_birth_date_alone_are_matched_with_hardly_a_mistake()
    {
        var records = LabelledRecords.Read(SharedData.Require("data/febrl3.csv"), ["names", "birth_date"]);
        var result = MatchEvaluation.Of(records);
        Assert.True(result.Precision >= 0.99 && result.F1 >= 0.93, $"{result}");
        Assert.True(result.AutoPrecision >= 0.999, $"{result}");
    }
}
