using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Invoices;

/// <summary>Creates the invoice with this external id, or replaces it whole; the same body again changes nothing.</summary>
internal static class UpsertInvoice
{
    public static async Task<IResult> Handle(
        string source, string externalId, InvoiceInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var key = Records.ReadKey(source, externalId);
        var now = clock.GetUtcNow();
        var (invoice, result) = await db.UpsertAsync(
            key, () => customers.RequireAsync(body.CustomerId, "/customer_id", ct), customer => Invoice.Record(key, customer, body, now), (invoice, customer) => invoice.Replace(customer, body, now), ct);
        return result.Answer(http, invoice.Version, $"/v1/invoices/{Ids.Invoice.Format(invoice.Id)}", InvoiceView.Of(invoice) with { Result = result });
    }
}
