using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

public enum OrderStatus
{
    Pending,
    Completed,
    Cancelled,
    Returned,
}

/// <summary>What a customer bought. The total is what was charged; the lines may or may not add up to it.</summary>
internal sealed class Order : BillingRecord
{
    private Order()
    {
    }

    public DateTimeOffset PlacedAt { get; private set; }
    public List<OrderLine> Lines { get; private set; } = [];
    public long TotalMinor { get; private set; }
    public string Currency { get; private set; } = "";
    public OrderStatus Status { get; private set; }

    public Money Total => new(TotalMinor, Currency);

    public decimal Quantity => Lines.Sum(l => l.Quantity);

    public static Order Record(ExternalKey? key, Guid customerId, OrderInput input, DateTimeOffset now)
    {
        var order = new Order();
        order.Take(customerId, input);
        order.Begin(key, now);
        return order;
    }

    /// <summary>False when the record says the same already.</summary>
    public bool Replace(Guid customerId, OrderInput input, DateTimeOffset now)
    {
        var (before, lines) = ((CustomerId, PlacedAt, Total, Status), Lines);
        Take(customerId, input);
        if (before == (CustomerId, PlacedAt, Total, Status) && lines.SequenceEqual(Lines))
        {
            return false;
        }

        Advance(now);
        return true;
    }

    public override OrderRecorded Recorded() => new(
        Ids.Order.Format(Id), Version, Ids.Customer.Format(CustomerId), PlacedAt, Quantity, Total, Status.ToWord(), Ids.Customer.Format(OriginCustomerId));

    private void Take(Guid customerId, OrderInput input)
    {
        BelongTo(customerId);
        PlacedAt = input.PlacedAt!.Value;
        Lines = [.. (input.Lines ?? []).Select(l => new OrderLine(l.Sku!, l.Description, l.Quantity!.Value, l.UnitPrice?.ToMoney()))];
        (TotalMinor, Currency) = (input.Total!.AmountMinor!.Value, input.Total.Currency!);
        Status = input.Status!.Value;
    }
}

/// <param name="Quantity">May be fractional: 0.5 kg.</param>
public sealed record OrderLine(string Sku, string? Description, decimal Quantity, [property: FieldGroup(FieldGroups.Finance)] Money? UnitPrice);

/// <summary>An order as its source knows it.</summary>
public sealed record OrderInput : IValidatableObject
{
    /// <summary><c>cus_…</c></summary>
    [Required]
    public string? CustomerId { get; init; }

    [Required]
    public DateTimeOffset? PlacedAt { get; init; }

    [AtMost(1000)]
    public List<OrderLineInput>? Lines { get; init; }

    /// <summary>What was charged; the lines may or may not add up to it.</summary>
    [Required]
    [FieldGroup(FieldGroups.Finance)]
    public MoneyInput? Total { get; init; }

    [Required]
    public OrderStatus? Status { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        foreach (var error in MoneyInput.ValidateTotal(Total, nameof(Total)))
        {
            yield return error;
        }

        for (var i = 0; i < (Lines?.Count ?? 0); i++)
        {
            if (Lines![i] is not { } line)
            {
                yield return new("wrong_type|null is not a line.", [$"{nameof(Lines)}[{i}]"]);
            }
            else if (line.UnitPrice?.Currency is { } currency && Total?.Currency is { } charged && currency != charged)
            {
                yield return new($"wrong_currency|The total is in {charged}.", [$"{nameof(Lines)}[{i}].{nameof(OrderLineInput.UnitPrice)}.{nameof(MoneyInput.Currency)}"]);
            }
        }
    }
}

public sealed record OrderLineInput : IValidatableObject
{
    private const decimal Most = 1_000_000_000;
    private const int Decimals = 6;

    [Required, Line(100)]
    public string? Sku { get; init; }

    [Line(500)]
    public string? Description { get; init; }

    /// <summary>More than zero; fractions of a unit are allowed.</summary>
    [Required]
    public decimal? Quantity { get; init; }

    /// <summary>In the currency of the total; below zero for a discount.</summary>
    [FieldGroup(FieldGroups.Finance)]
    public MoneyInput? UnitPrice { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Quantity is <= 0 or > Most)
        {
            yield return new("out_of_range|More than 0, at most 1,000,000,000.", [nameof(Quantity)]);
        }
        else if (Quantity is { } quantity && decimal.Round(quantity, Decimals) != quantity)
        {
            yield return new("out_of_range|At most six decimals.", [nameof(Quantity)]);
        }
    }
}
