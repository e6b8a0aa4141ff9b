using System.Net;

namespace BillingSync.Tests;

/// <summary>Stops Contacts, so nothing else may run beside it.</summary>
[CollectionDefinition(nameof(ContactsAwayTests), DisableParallelization = true)]
[Collection(nameof(ContactsAwayTests))]
public sealed class ContactsAwayTests(BillingFixture fixture)
{
    [Fact]
    public async Task Known_customers_are_billed_while_Contacts_is_away_and_unknown_ones_are_asked_to_wait()
    {
        var customer = await fixture.CreateCustomerAsync();
        await fixture.Billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer));
        await fixture.Platform["contacts"].KillAsync();
        try
        {
            await fixture.Billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer));
            await fixture.Billing.GetJsonAsync($"/v1/customers/{customer}/account");
            using var response = await fixture.Billing.SendAsync(HttpMethod.Put, Http.NewPath("orders"), OrderTests.Order("cus_00000000000000000000000000"));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.NotNull(response.Headers.RetryAfter);
            Assert.Equal("unavailable", (string?)(await response.BodyAsync())["code"]);
        }
        finally
        {
            await fixture.Platform["contacts"].StartAsync();
        }
    }
}
