using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;

namespace Crm.BillingSync.Features.Invoices;

/// <summary>Creates an invoice that has no external id.</summary>
internal static class CreateInvoice
{
    public static async Task<IResult> Handle(
        InvoiceInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var invoice = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);
            return await db.InsertAsync(Invoice.Record(key: null, customerId, body, clock.GetUtcNow()), ct);
        }, ct);
        return Answers.Created(http, invoice.Version, $"/v1/invoices/{Ids.Invoice.Format(invoice.Id)}", InvoiceView.Of(invoice));
    }
}
