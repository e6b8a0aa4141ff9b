using Crm.BillingSync.Features;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Auth;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Wire = Crm.Contracts.BillingSync.V1;

namespace Crm.BillingSync;

/// <summary>The account, for the gateway's overview.</summary>
internal sealed class BillingSyncGrpc(BillingSyncDb db, CustomerDirectory customers, TimeProvider clock) : Wire.BillingSync.BillingSyncBase
{
    [Callers("gateway", Scope = Scopes.BillingRead)]
    public override async Task<Wire.CustomerOverview> GetCustomerOverview(Wire.GetCustomerOverviewRequest request, ServerCallContext context)
    {
        var ct = context.CancellationToken;
        var account = await db.ReadAccountAsync(await customers.FindAsync(request.CustomerId, ct), clock.GetUtcNow(), ct);
        var wire = new Wire.CustomerOverview
        {
            AsOf = Timestamp.FromDateTimeOffset(account.AsOf),
            Orders = account.Orders,
            FirstPurchaseAt = account.FirstPurchaseAt is { } first ? Timestamp.FromDateTimeOffset(first) : null,
            LastPurchaseAt = account.LastPurchaseAt is { } last ? Timestamp.FromDateTimeOffset(last) : null,
        };
        wire.ByCurrency.AddRange(account.ByCurrency.Select(c => new Wire.CurrencyAccount
        {
            Currency = c.Currency,
            Balance = c.Balance,
            Overdue = c.Overdue,
            Revenue = c.Revenue,
        }));
        return wire;
    }
}
