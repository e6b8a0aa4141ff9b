using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Payments;

/// <summary>A payment as the API shows it.</summary>
public sealed record PaymentView(
    string Id,
    ExternalKey? ExternalId,
    string CustomerId,
    string? InvoiceId,
    DateTimeOffset PaidAt,
    [property: FieldGroup(FieldGroups.Finance)] Money Amount,
    string Method,
    PaymentStatus Status,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static PaymentView Of(Payment payment) => new(
        Ids.Payment.Format(payment.Id),
        payment.ExternalKey,
        Ids.Customer.Format(payment.CustomerId),
        Ids.Invoice.Format(payment.InvoiceId),
        payment.PaidAt,
        payment.Amount,
        payment.Method,
        payment.Status,
        payment.Version,
        payment.CreatedAt,
        payment.UpdatedAt);
}
