using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.BillingSync.Features.Payments;

/// <summary>One payment, by id or by external id.</summary>
internal static class ReadPayment
{
    public static async Task<IResult> Handle(string id, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Ids.Payment.TryParse(id, out var key)
            ? Answer(http, await db.Payments.AsNoTracking().FirstOrDefaultAsync(r => r.Id == key, ct))
            : throw ProblemException.NotFound("payment");

    public static async Task<IResult> HandleByExternalId(string source, string externalId, HttpContext http, BillingSyncDb db, CancellationToken ct) =>
        Answer(http, await db.ByKey<Payment>(Records.ReadKey(source, externalId)).AsNoTracking().FirstOrDefaultAsync(ct));

    private static IResult Answer(HttpContext http, Payment? payment) =>
        payment is not null ? ETags.Ok(http, payment.Version, PaymentView.Of(payment)) : throw ProblemException.NotFound("payment");
}
