using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Orders;

/// <summary>Orders, newest record first; of one customer, of one status.</summary>
internal static class ListOrders
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "status"];

    public static async Task<Page<OrderView>> Handle(HttpRequest request, BillingSyncDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var orders = db.OutOfBin(db.Orders.AsNoTracking()).OfCustomer(await customers.ReadFilterAsync(request, ct));
        if (request.ReadWord<OrderStatus>("status") is { } status)
        {
            orders = orders.Where(r => r.Status == status);
        }

        return await orders.ToPageAsync(PageRequest.Read(request, Ids.Order), r => r.Id, Ids.Order, OrderView.Of, ct);
    }
}
