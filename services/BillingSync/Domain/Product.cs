using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

/// <summary>Something that is sold.</summary>
internal sealed class Product : SourceRecord
{
    private Product()
    {
    }

    public string Sku { get; private set; } = "";
    public string Name { get; private set; } = "";
    public string? Description { get; private set; }
    public long? UnitPriceMinor { get; private set; }
    public string? UnitPriceCurrency { get; private set; }
    public bool Active { get; private set; }

    public Money? UnitPrice => UnitPriceMinor is { } amount ? new(amount, UnitPriceCurrency!) : null;

    public static Product Record(ExternalKey? key, ProductInput input, DateTimeOffset now)
    {
        var product = new Product();
        product.Take(input);
        product.Begin(key, now);
        return product;
    }

    /// <summary>False when the record says the same already.</summary>
    public bool Replace(ProductInput input, DateTimeOffset now)
    {
        var before = (Sku, Name, Description, UnitPrice, Active);
        Take(input);
        if (before == (Sku, Name, Description, UnitPrice, Active))
        {
            return false;
        }

        Advance(now);
        return true;
    }

    private void Take(ProductInput input)
    {
        Sku = input.Sku!;
        Name = input.Name!;
        Description = input.Description;
        UnitPriceMinor = input.UnitPrice?.AmountMinor;
        UnitPriceCurrency = input.UnitPrice?.Currency;
        Active = input.Active ?? true;
    }
}

/// <summary>A product as its source knows it.</summary>
public sealed record ProductInput : IValidatableObject
{
    [Required, Line(100)]
    public string? Sku { get; init; }

    [Required, Line(400)]
    public string? Name { get; init; }

    [Prose(10_000)]
    public string? Description { get; init; }

    public MoneyInput? UnitPrice { get; init; }

    /// <summary>Whether it is still sold; default true.</summary>
    public bool? Active { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext) => MoneyInput.ValidateTotal(UnitPrice, nameof(UnitPrice));
}
