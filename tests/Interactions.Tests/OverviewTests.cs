using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Contracts.Interactions.V1;
using Crm.Testing;
using Grpc.Core;
using Wire = Crm.Contracts.Interactions.V1.Interactions;

namespace Interactions.Tests;

public sealed class OverviewTests(InteractionsFixture fixture)
{
    private static readonly CancellationToken Ct = TestContext.Current.CancellationToken;
    private readonly Wire.InteractionsClient _client = new(fixture.Grpc);

    [Fact]
    public async Task The_overview_has_the_last_interaction_and_the_ten_newest_entries()
    {
        var customer = await fixture.CustomerAsync();
        for (var day = 1; day <= 9; day++)
        {
            await fixture.Api.PostAsync("/v1/interactions", $$"""{"customer_id":"{{customer}}","channel":"chat","direction":"inbound","started_at":"2026-03-0{{day}}T00:00:00Z"}""", Ct);
        }

        var at = new DateTimeOffset(2026, 3, 20, 0, 0, 0, TimeSpan.Zero);
        for (var hour = 0; hour < 3; hour++)
        {
            await fixture.Bus.PublishAsync(
                new OrderRecorded(Ids.Order.Format(Guid.CreateVersion7()), 1, customer, at.AddHours(hour), 1, new Money(100, "USD"), "completed"), ct: Ct);
        }

        await Eventually.GetAsync(() => fixture.Api.CallAsync($"/v1/customers/{customer}/timeline?type=order", Ct), page => page.Data.Count == 3, ct: Ct);
        var overview = await AskAsync(customer, Scopes.InteractionsRead);
        Assert.Equal(new DateTimeOffset(2026, 3, 9, 0, 0, 0, TimeSpan.Zero), overview.LastInteractionAt.ToDateTimeOffset());
        Assert.Equal(10, overview.Recent.Count);
        Assert.Equal(["order", "order", "order", "interaction"], overview.Recent.Take(4).Select(e => e.Type));
        Assert.Equal("1 item, 1.00 USD", overview.Recent[0].Summary);
        Assert.True((DateTimeOffset.UtcNow - overview.AsOf.ToDateTimeOffset()).Duration() < TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task Nothing_has_happened_with_a_new_customer()
    {
        var overview = await AskAsync(await fixture.CustomerAsync(), Scopes.InteractionsRead);
        Assert.Null(overview.LastInteractionAt);
        Assert.Empty(overview.Recent);
    }

    [Fact]
    public async Task Nobody_is_not_found()
    {
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => AskAsync(Ids.Customer.Format(Guid.CreateVersion7()), Scopes.InteractionsRead))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => AskAsync("4711", Scopes.InteractionsRead))).StatusCode);
    }

    [Fact]
    public async Task A_caller_without_the_scope_is_refused()
    {
        var customer = await fixture.CustomerAsync();
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(() => AskAsync(customer, Scopes.CustomersRead))).StatusCode);
        var anonymous = await Assert.ThrowsAsync<RpcException>(() => _client.GetCustomerOverviewAsync(new GetCustomerOverviewRequest { CustomerId = customer }, cancellationToken: Ct).ResponseAsync);
        Assert.Equal(StatusCode.Unauthenticated, anonymous.StatusCode);
    }

    private async Task<CustomerOverview> AskAsync(string customer, string scope) => await _client.GetCustomerOverviewAsync(
        new GetCustomerOverviewRequest { CustomerId = customer }, new Metadata { { "authorization", $"Bearer {fixture.Token(scope)}" } }, cancellationToken: Ct);
}
