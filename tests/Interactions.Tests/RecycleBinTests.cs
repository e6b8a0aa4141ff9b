using System.Net;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Testing;

namespace Interactions.Tests;

public sealed class RecycleBinTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_happened_to_a_customer_in_the_recycle_bin_is_on_no_list_until_it_comes_back()
    {
        var customer = await fixture.CustomerAsync();
        var logged = await fixture.Api.PostAsync("/v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"call","direction":"inbound","started_at":"2026-03-03T00:00:00Z"}""", Ct);
        Assert.Equal(HttpStatusCode.Created, logged.Status);
        await fixture.Bus.PublishAsync(new OrderRecorded(Ids.Order.Format(Guid.CreateVersion7()), 1, customer, InteractionsFixture.FilledFrom, 2, new Money(2390, "USD"), "completed"), ct: Ct);
        await Eventually.GetAsync(() => fixture.Api.CallAsync($"/v1/customers/{customer}/timeline", Ct), t => t.Data.Count == 2, ct: Ct);

        Assert.Equal(HttpStatusCode.NoContent, (await fixture.Contacts.CallAsync(HttpMethod.Delete, $"/v1/customers/{customer}", null, [("If-Match", "*")], Ct)).Status);
        await Eventually.GetAsync(() => fixture.Api.CallAsync($"/v1/customers/{customer}/timeline", Ct), t => (t.Status, t.Code) == (HttpStatusCode.Gone, "customer_deleted"), ct: Ct);
        Assert.Empty((await fixture.Api.CallAsync($"/v1/interactions?customer_id={customer}", Ct)).Data);
        Assert.DoesNotContain((await fixture.Api.CallAsync("/v1/interactions?limit=100", Ct)).Data, i => (string?)i["id"] == (string?)logged["id"]);

        await fixture.Contacts.PostAsync($"/v1/recycle-bin/{customer}/restore", "{}", Ct);
        await Eventually.GetAsync(() => fixture.Api.CallAsync($"/v1/interactions?customer_id={customer}", Ct), l => l.Data.Count == 1, ct: Ct);
        Assert.Equal(2, (await fixture.Api.CallAsync($"/v1/customers/{customer}/timeline", Ct)).Data.Count);
    }
}
