using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Orders;

/// <summary>One order, by id or by external id.</summary>
internal static class ReadOrder
{
    public static async Task<IResult> Handle(string id, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Ids.Order.TryParse(id, out var key)
            ? Answer(http, await db.Orders.AsNoTracking().FirstOrDefaultAsync(r => r.Id == key, ct))
            : throw ProblemException.NotFound("order");

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Answer(http, await db.ByKey<Order>(Records.ReadKey(source, externalId)).AsNoTracking().FirstOrDefaultAsync(ct));

    private static IResult Answer(HttpContext http, Order? order) =>
        order is not null ? ETags.Ok(http, order.Version, OrderView.Of(order)) : throw ProblemException.NotFound("order");
}
