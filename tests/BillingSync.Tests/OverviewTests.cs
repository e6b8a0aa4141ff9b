using Crm.Contracts.BillingSync.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace BillingSync.Tests;

public sealed class OverviewTests(BillingFixture fixture) : IDisposable
{
    private readonly GrpcChannel _channel = GrpcChannel.ForAddress(fixture.Platform["billing-sync"].GrpcAddress!);

    public void Dispose() => _channel.Dispose();

    [Fact]
    public async Task The_overview_says_what_the_account_says()
    {
        var customer = await fixture.CreateCustomerAsync();
        await fixture.Billing.PutAsync(Http.NewPath("orders"), OrderTests.Order(customer, total: 1500));
        await fixture.Billing.PutAsync(Http.NewPath("invoices"), InvoiceAndPaymentTests.Invoice(customer, total: 1500, due: "1997-07-01T00:00:00Z"));
        await fixture.Billing.PutAsync(Http.NewPath("payments"), InvoiceAndPaymentTests.Payment(customer, amount: 1000));

        var overview = await CallAsync(customer, "billing:read");
        Assert.Equal(1, overview.Orders);
        Assert.Equal(new DateTimeOffset(1997, 6, 1, 0, 0, 0, TimeSpan.Zero), overview.FirstPurchaseAt.ToDateTimeOffset());
        Assert.True(DateTimeOffset.UtcNow - overview.AsOf.ToDateTimeOffset() < TimeSpan.FromMinutes(1));
        Assert.Equal(new CurrencyAccount { Currency = "USD", Balance = 500, Overdue = 500, Revenue = 1500 }, Assert.Single(overview.ByCurrency));
    }

    [Fact]
    public async Task A_customer_without_records_has_an_empty_overview()
    {
        var overview = await CallAsync(await fixture.CreateCustomerAsync(), "billing:read");
        Assert.Equal(0, overview.Orders);
        Assert.Null(overview.FirstPurchaseAt);
        Assert.Empty(overview.ByCurrency);
    }

    [Fact]
    public async Task An_unknown_customer_is_not_found_and_a_missing_scope_is_denied()
    {
        var unknown = await Assert.ThrowsAsync<RpcException>(() => CallAsync("cus_00000000000000000000000000", "billing:read"));
        Assert.Equal(StatusCode.NotFound, unknown.StatusCode);
        var customer = await fixture.CreateCustomerAsync();
        var denied = await Assert.ThrowsAsync<RpcException>(() => CallAsync(customer, "customers:read"));
        Assert.Equal(StatusCode.PermissionDenied, denied.StatusCode);
    }

    private async Task<CustomerOverview> CallAsync(string customer, string scope) =>
        await new Crm.Contracts.BillingSync.V1.BillingSync.BillingSyncClient(_channel).GetCustomerOverviewAsync(
            new GetCustomerOverviewRequest { CustomerId = customer },
            new Metadata { { "authorization", $"Bearer {fixture.Token(scope)}" } },
            DateTime.UtcNow.AddSeconds(20));
}
