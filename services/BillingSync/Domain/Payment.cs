using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

public enum PaymentStatus
{
    Pending,
    Succeeded,
    Failed,
    Refunded,
}

/// <summary>What a customer paid, or tried to.</summary>
internal sealed class Payment : BillingRecord
{
    private Payment()
    {
    }

    public Guid? InvoiceId { get; private set; }
    public DateTimeOffset PaidAt { get; private set; }
    public long AmountMinor { get; private set; }
    public string Currency { get; private set; } = "";
    public string Method { get; private set; } = "";
    public PaymentStatus Status { get; private set; }

    public Money Amount => new(AmountMinor, Currency);

    public static Payment Record(ExternalKey? key, Guid customerId, PaymentInput input, DateTimeOffset now)
    {
        var payment = new Payment();
        payment.Take(customerId, input);
        payment.Begin(key, now);
        return payment;
    }

    /// <summary>False when the record says the same already.</summary>
    public bool Replace(Guid customerId, PaymentInput input, DateTimeOffset now)
    {
        var before = (CustomerId, InvoiceId, PaidAt, Amount, Method, Status);
        Take(customerId, input);
        if (before == (CustomerId, InvoiceId, PaidAt, Amount, Method, Status))
        {
            return false;
        }

        Advance(now);
        return true;
    }

    public override PaymentRecorded Recorded() => new(
        Ids.Payment.Format(Id), Version, Ids.Customer.Format(CustomerId), Ids.Invoice.Format(InvoiceId), PaidAt, Amount, Method, Status.ToWord(), Ids.Customer.Format(OriginCustomerId));

    private void Take(Guid customerId, PaymentInput input)
    {
        BelongTo(customerId);
        InvoiceId = Ids.Invoice.TryParse(input.InvoiceId, out var invoice) ? invoice : null;
        PaidAt = input.PaidAt!.Value;
        (AmountMinor, Currency) = (input.Amount!.AmountMinor!.Value, input.Amount.Currency!);
        Method = input.Method!;
        Status = input.Status!.Value;
    }
}

/// <summary>A payment as its source knows it.</summary>
public sealed record PaymentInput : IValidatableObject
{
    /// <summary><c>cus_…</c></summary>
    [Required]
    public string? CustomerId { get; init; }

    /// <summary><c>inv_…</c>, an invoice of the same customer; without it the payment goes to the oldest open ones.</summary>
    public string? InvoiceId { get; init; }

    [Required]
    public DateTimeOffset? PaidAt { get; init; }

    [Required]
    [FieldGroup(FieldGroups.Finance)]
    public MoneyInput? Amount { get; init; }

    /// <summary>Such as <c>card</c>.</summary>
    [Required, Line(64)]
    public string? Method { get; init; }

    [Required]
    public PaymentStatus? Status { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (InvoiceId is not null && !Ids.Invoice.TryParse(InvoiceId, out _))
        {
            yield return new("wrong_format|An invoice id, inv_…", [nameof(InvoiceId)]);
        }

        foreach (var error in MoneyInput.ValidateTotal(Amount, nameof(Amount)))
        {
            yield return error;
        }
    }
}
