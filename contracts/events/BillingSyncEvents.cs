namespace Crm.Contracts.Events;

/// <summary>The whole order as it now is; a version that is not newer is dropped.</summary>
/// <param name="Quantity">Sum of the lines' quantities; may be fractional.</param>
[EventName("billing-sync.order-recorded.v1")]
public sealed record OrderRecorded(
    string Id,
    long Version,
    string CustomerId,
    DateTimeOffset PlacedAt,
    decimal Quantity,
    Money Total,
    string Status,
    string? OriginCustomerId = null);

/// <summary>The whole invoice as it now is; a version that is not newer is dropped.</summary>
[EventName("billing-sync.invoice-recorded.v1")]
public sealed record InvoiceRecorded(
    string Id,
    long Version,
    string CustomerId,
    string? OrderId,
    string Number,
    DateTimeOffset IssuedAt,
    DateTimeOffset? DueAt,
    Money Total,
    string Status,
    string? OriginCustomerId = null);

/// <summary>The whole payment as it now is; a version that is not newer is dropped.</summary>
[EventName("billing-sync.payment-recorded.v1")]
public sealed record PaymentRecorded(
    string Id,
    long Version,
    string CustomerId,
    string? InvoiceId,
    DateTimeOffset PaidAt,
    Money Amount,
    string Method,
    string Status,
    string? OriginCustomerId = null);
