using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.CustomerCopy;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Payments;

/// <summary>Creates the payment with this external id, or replaces it whole; the same body again changes nothing.</summary>
internal static class UpsertPayment
{
    public static async Task<IResult> Handle(
        string source, string externalId, PaymentInput body, HttpContext http, BillingSyncDb db, CustomerDirectory customers, TimeProvider clock, CancellationToken ct)
    {
        var key = Records.ReadKey(source, externalId);
        var now = clock.GetUtcNow();
        var (payment, result) = await db.UpsertAsync(
            key, () => customers.RequireAsync(body.CustomerId, "/customer_id", ct), customer => Payment.Record(key, customer, body, now), (payment, customer) => payment.Replace(customer, body, now), ct);
        return result.Answer(http, payment.Version, $"/v1/payments/{Ids.Payment.Format(payment.Id)}", PaymentView.Of(payment) with { Result = result });
    }
}
