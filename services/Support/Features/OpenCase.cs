using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Crm.Support.Domain;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Crm.Support.Features;

/// <summary>Opens a case of a customer.</summary>
internal static class OpenCase
{
    public static async Task<Created<CaseView>> Handle(
        CaseInput body, HttpContext http, SupportDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var opened = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);
            var opened = Case.Open(customerId, await db.WithEntitlementsAsync(body, customerId, ct), externalId: null, http.Now(clock));
            db.Cases.Add(opened);
            await db.SaveAsync(opened, ct);
            return opened;
        }, ct);
        http.Response.Headers.ETag = ETags.Of(opened.Version);
        var view = CaseView.Of(opened);
        return TypedResults.Created($"/v1/cases/{view.Id}", view);
    }
}
