using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Invoices;

/// <summary>Invoices, newest record first; of one customer, of one status, where <c>overdue</c> is open and past due.</summary>
internal static class ListInvoices
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "status"];

    public static async Task<Page<InvoiceView>> Handle(HttpRequest request, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var invoices = db.OutOfBin(db.Invoices.AsNoTracking()).OfCustomer(await customers.ReadFilterAsync(request, ct));
        if (request.Query["status"] is ["overdue"])
        {
            var now = clock.GetUtcNow();
            invoices = invoices.Where(r => r.Status == InvoiceStatus.Open && r.DueAt < now);
        }
        else if (request.ReadWord<InvoiceStatus>("status") is { } status)
        {
            invoices = invoices.Where(r => r.Status == status);
        }

        return await invoices.ToPageAsync(PageRequest.Read(request, Ids.Invoice), r => r.Id, Ids.Invoice, InvoiceView.Of, ct);
    }
}
