using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Invoices;

/// <summary>One invoice, by id or by external id.</summary>
internal static class ReadInvoice
{
    public static async Task<IResult> Handle(string id, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Ids.Invoice.TryParse(id, out var key)
            ? Answer(http, await db.Invoices.AsNoTracking().FirstOrDefaultAsync(r => r.Id == key, ct))
            : throw ProblemException.NotFound("invoice");

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Answer(http, await db.ByKey<Invoice>(Records.ReadKey(source, externalId)).AsNoTracking().FirstOrDefaultAsync(ct));

    private static IResult Answer(HttpContext http, Invoice? invoice) =>
        invoice is not null ? ETags.Ok(http, invoice.Version, InvoiceView.Of(invoice)) : throw ProblemException.NotFound("invoice");
}
