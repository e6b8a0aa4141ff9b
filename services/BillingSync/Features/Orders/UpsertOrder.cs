using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Orders;

/// <summary>Creates the order with this external id, or replaces it whole; the same body again changes nothing.</summary>
internal static class UpsertOrder
{
    public static async Task<IResult> Handle(
        string source, string externalId, OrderInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var key = Records.ReadKey(source, externalId);
        var now = clock.GetUtcNow();
        var (order, result) = await db.UpsertAsync(
            key, () => customers.RequireAsync(body.CustomerId, "/customer_id", ct), customer => Order.Record(key, customer, body, now), (order, customer) => order.Replace(customer, body, now), ct);
        return result.Answer(http, order.Version, $"/v1/orders/{Ids.Order.Format(order.Id)}", OrderView.Of(order) with { Result = result });
    }
}
