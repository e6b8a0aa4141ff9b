using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;

namespace Crm.BillingSync.Features.Payments;

/// <summary>Creates a payment that has no external id.</summary>
internal static class CreatePayment
{
    public static async Task<IResult> Handle(
        PaymentInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var payment = await db.InTransactionAsync(async () =>
        {
            var customerId = await customers.RequireAsync(body.CustomerId, "/customer_id", ct);
            return await db.InsertAsync(Payment.Record(key: null, customerId, body, clock.GetUtcNow()), ct);
        }, ct);
        return Answers.Created(http, payment.Version, $"/v1/payments/{Ids.Payment.Format(payment.Id)}", PaymentView.Of(payment));
    }
}
