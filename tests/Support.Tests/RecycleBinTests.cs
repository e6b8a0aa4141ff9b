using System.Net;
using Crm.Testing;

namespace Support.Tests;

public sealed class RecycleBinTests(SupportFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Cases_of_a_customer_in_the_recycle_bin_are_on_no_list_until_it_comes_back()
    {
        var (customer, queue) = (await fixture.CustomerAsync(), $"q-{Guid.NewGuid():n}");
        var opened = await fixture.Api.PostAsync("/v1/cases", $$"""{"customer_id":"{{customer}}","type":"question","subject":"Where is it","queue":"{{queue}}"}""", Ct);
        Assert.Equal(HttpStatusCode.Created, opened.Status);
        foreach (var list in new[] { $"/v1/cases?customer_id={customer}", $"/v1/cases?queue={queue}" })
        {
            Assert.Equal((string?)opened["id"], (string?)Assert.Single((await fixture.Api.CallAsync(list, Ct)).Data)["id"]);
            Assert.Equal(HttpStatusCode.NoContent, (await fixture.Contacts.CallAsync(HttpMethod.Delete, $"/v1/customers/{customer}", null, [("If-Match", "*")], Ct)).Status);
            await Eventually.GetAsync(() => fixture.Api.CallAsync(list, Ct), l => l.Data.Count == 0, ct: Ct);
            await fixture.Contacts.PostAsync($"/v1/recycle-bin/{customer}/restore", "{}", Ct);
            await Eventually.GetAsync(() => fixture.Api.CallAsync(list, Ct), l => l.Data.Count == 1, ct: Ct);
        }
    }
}
