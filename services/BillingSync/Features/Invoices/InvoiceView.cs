using System.Text.Json.Serialization;
using Crm.BillingSync.Domain;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Features.Invoices;

/// <summary>An invoice as the API shows it.</summary>
public sealed record InvoiceView(
    string Id,
    ExternalKey? ExternalId,
    string CustomerId,
    string? OrderId,
    string Number,
    DateTimeOffset IssuedAt,
    DateTimeOffset? DueAt,
    [property: FieldGroup(FieldGroups.Finance)] Money Total,
    InvoiceStatus Status,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static InvoiceView Of(Invoice invoice) => new(
        Ids.Invoice.Format(invoice.Id),
        invoice.ExternalKey,
        Ids.Customer.Format(invoice.CustomerId),
        Ids.Order.Format(invoice.OrderId),
        invoice.Number,
        invoice.IssuedAt,
        invoice.DueAt,
        invoice.Total,
        invoice.Status,
        invoice.Version,
        invoice.CreatedAt,
        invoice.UpdatedAt);
}
