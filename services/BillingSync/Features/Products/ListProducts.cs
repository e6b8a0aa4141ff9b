using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Products;

/// <summary>Products, newest first.</summary>
internal static class ListProducts
{
    public static readonly string[] Parameters = PageRequest.Parameters;

    public static Task<Page<ProductView>> Handle(HttpRequest request, BillingSyncDb db, CancellationToken ct) =>
        db.Products.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.Product), p => p.Id, Ids.Product, ProductView.Of, ct);
}
