using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Products;

/// <summary>Creates the product with this external id, or replaces it whole; the same body again changes nothing.</summary>
internal static class UpsertProduct
{
    public static async Task<IResult> Handle(
        string source, string externalId, ProductInput body, HttpContext http, BillingSyncDb db, TimeProvider clock, CancellationToken ct)
    {
        var key = Records.ReadKey(source, externalId);
        var now = clock.GetUtcNow();
        var (product, result) = await db.UpsertAsync(key, () => Product.Record(key, body, now), product => product.Replace(body, now), ct);
        return result.Answer(http, product.Version, $"/v1/products/{Ids.Product.Format(product.Id)}", ProductView.Of(product) with { Result = result });
    }
}
