using Crm.Testing;

namespace Contacts.Tests;

public sealed class StrictFixture : ServicesFixture
{
    protected override IReadOnlyCollection<string> Only => ["contacts"];

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string> { ["CustomFields__Strict"] = "true" };
}

/// <summary>An installation that takes no attribute it has not defined.</summary>
public sealed class StrictFieldTests(StrictFixture fixture) : IClassFixture<StrictFixture>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_attribute_that_is_not_defined_is_refused_by_name_until_it_is()
    {
        using var api = fixture.CreateClient("contacts");
        const string Customer = """{"kind":"person","given_name":"Ada","attributes":{"colour":"blue"},"source":{"type":"enquiry"}}""";
        var refused = await api.PostAsync("/v1/customers", Customer, Ct);
        Assert.Equal(("validation_failed", "/attributes/colour unknown_field"), (refused.Code, Assert.Single(refused.Errors)));
        Assert.False((bool)(await api.CallAsync("/v1/custom-fields/schema", Ct))["additionalProperties"]!);
        Assert.Null((await api.PostAsync("/v1/custom-fields", """{"name":"colour","label":"Colour","type":"text"}""", Ct)).Code);
        Assert.Null((await api.PostAsync("/v1/customers", Customer, Ct)).Code);
    }
}
