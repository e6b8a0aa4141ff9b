using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;

namespace Crm.BillingSync.Features.Orders;

/// <summary>Creates an order that has no external id.</summary>
internal static class CreateOrder
{
    public static async Task<IResult> Handle(
        OrderInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var order = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);
            return await db.InsertAsync(Order.Record(key: null, customerId, body, clock.GetUtcNow()), ct);
        }, ct);
        return Answers.Created(http, order.Version, $"/v1/orders/{Ids.Order.Format(order.Id)}", OrderView.Of(order));
    }
}
