using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Products;

/// <summary>One product, by id or by external id.</summary>
internal static class ReadProduct
{
    public static async Task<IResult> Handle(string id, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Ids.Product.TryParse(id, out var key)
            ? Answer(http, await db.Products.AsNoTracking().FirstOrDefaultAsync(r => r.Id == key, ct))
            : throw ProblemException.NotFound("product");

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Answer(http, await db.ByKey<Product>(Records.ReadKey(source, externalId)).AsNoTracking().FirstOrDefaultAsync(ct));

    private static IResult Answer(HttpContext http, Product? product) =>
        product is not null ? ETags.Ok(http, product.Version, ProductView.Of(product)) : throw ProblemException.NotFound("product");
}
