using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

/// <summary>Overdue is not a state of its own: it is an open invoice past its due date.</summary>
public enum InvoiceStatus
{
    Open,
    Paid,
    Void,
}

/// <summary>What a customer was asked to pay.</summary>
internal sealed class Invoice : BillingRecord
{
    private Invoice()
    {
    }

    public Guid? OrderId { get; private set; }
    public string Number { get; private set; } = "";
    public DateTimeOffset IssuedAt { get; private set; }
    public DateTimeOffset? DueAt { get; private set; }
    public long TotalMinor { get; private set; }
    public string Currency { get; private set; } = "";
    public InvoiceStatus Status { get; private set; }

    public Money Total => new(TotalMinor, Currency);

    public static Invoice Record(ExternalKey? key, Guid customerId, InvoiceInput input, DateTimeOffset now)
    {
        var invoice = new Invoice();
        invoice.Take(customerId, input);
        invoice.Begin(key, now);
        return invoice;
    }

    /// <summary>False when the record says the same already.</summary>
    public bool Replace(Guid customerId, InvoiceInput input, DateTimeOffset now)
    {
        var before = (CustomerId, OrderId, Number, IssuedAt, DueAt, Total, Status);
        Take(customerId, input);
        if (before == (CustomerId, OrderId, Number, IssuedAt, DueAt, Total, Status))
        {
            return false;
        }

        Advance(now);
        return true;
    }

    public override InvoiceRecorded Recorded() => new(
        Ids.Invoice.Format(Id), Version, Ids.Customer.Format(CustomerId), Ids.Order.Format(OrderId), Number, IssuedAt, DueAt, Total, Status.ToWord(), Ids.Customer.Format(OriginCustomerId));

    private void Take(Guid customerId, InvoiceInput input)
    {
        BelongTo(customerId);
        OrderId = Ids.Order.TryParse(input.OrderId, out var order) ? order : null;
        Number = input.Number!;
        IssuedAt = input.IssuedAt!.Value;
        DueAt = input.DueAt;
        (TotalMinor, Currency) = (input.Total!.AmountMinor!.Value, input.Total.Currency!);
        Status = input.Status!.Value;
    }
}

/// <summary>An invoice as its source knows it.</summary>
public sealed record InvoiceInput : IValidatableObject
{
    /// <summary><c>cus_…</c></summary>
    [Required]
    public string? CustomerId { get; init; }

    /// <summary><c>ord_…</c>, an order of the same customer.</summary>
    public string? OrderId { get; init; }

    [Required, Line(100)]
    public string? Number { get; init; }

    [Required]
    public DateTimeOffset? IssuedAt { get; init; }

    public DateTimeOffset? DueAt { get; init; }

    [Required]
    [FieldGroup(FieldGroups.Finance)]
    public MoneyInput? Total { get; init; }

    [Required]
    public InvoiceStatus? Status { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (OrderId is not null && !Ids.Order.TryParse(OrderId, out _))
        {
            yield return new("wrong_format|An order id, ord_…", [nameof(OrderId)]);
        }

        foreach (var error in MoneyInput.ValidateTotal(Total, nameof(Total)))
        {
            yield return error;
        }
    }
}
