using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Payments;

/// <summary>Payments, newest record first; of one customer, of one status.</summary>
internal static class ListPayments
{
    public static readonly string[] Parameters = [.. PageRequest.Parameters, "customer_id", "status"];

    public static async Task<Page<PaymentView>> Handle(HttpRequest request, BillingSyncDb db, CustomerDirectory customers, CancellationToken ct)
    {
        var payments = db.OutOfBin(db.Payments.AsNoTracking()).OfCustomer(await customers.ReadFilterAsync(request, ct));
        if (request.ReadWord<PaymentStatus>("status") is { } status)
        {
            payments = payments.Where(r => r.Status == status);
        }

        return await payments.ToPageAsync(PageRequest.Read(request, Ids.Payment), r => r.Id, Ids.Payment, PaymentView.Of, ct);
    }
}
