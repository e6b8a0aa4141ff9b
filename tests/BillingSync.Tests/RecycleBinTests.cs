using System.Net;
using Crm.Testing;

namespace BillingSync.Tests;

public sealed class RecycleBinTests(BillingFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Orders_invoices_and_payments_of_a_customer_in_the_recycle_bin_are_on_no_list_until_it_comes_back()
    {
        var customer = await fixture.CreateCustomerAsync();
        const string Amount = """{"amount_minor":2390,"currency":"USD"}""";
        await fixture.Billing.PutAsync(Http.NewPath("orders"), $$"""{"customer_id":"{{customer}}","placed_at":"2026-01-02T03:04:05Z","lines":[{"sku":"CD-1","quantity":2}],"total":{{Amount}},"status":"completed"}""");
        await fixture.Billing.PutAsync(Http.NewPath("invoices"), $$"""{"customer_id":"{{customer}}","number":"R-17","issued_at":"2026-01-02T03:04:05Z","total":{{Amount}},"status":"open"}""");
        await fixture.Billing.PutAsync(Http.NewPath("payments"), $$"""{"customer_id":"{{customer}}","paid_at":"2026-01-02T03:04:05Z","amount":{{Amount}},"method":"card","status":"succeeded"}""");
        await CountAsync(1);
        Assert.Equal(HttpStatusCode.NoContent, (await fixture.Contacts.CallAsync(HttpMethod.Delete, $"/v1/customers/{customer}", null, [("If-Match", "*")], Ct)).Status);
        await CountAsync(0);
        await fixture.Contacts.PostAsync($"/v1/recycle-bin/{customer}/restore", "{}", Ct);
        await CountAsync(1);

        async Task CountAsync(int expected)
        {
            foreach (var list in new[] { "orders", "invoices", "payments" })
            {
                await Eventually.GetAsync(() => fixture.Billing.CallAsync($"/v1/{list}?customer_id={customer}", Ct), l => l.Data.Count == expected, ct: Ct);
            }
        }
    }
}
