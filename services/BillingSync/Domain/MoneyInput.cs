using System.ComponentModel.DataAnnotations;
using Crm.Contracts;
using Crm.Hosting.Web;

namespace Crm.BillingSync.Domain;

/// <summary>An amount in minor units of an ISO 4217 currency.</summary>
public sealed record MoneyInput
{
    /// <summary>Keeps every sum of ninety thousand records within 64 bits.</summary>
    private const double Largest = 1e14;

    [Required, Range(-Largest, Largest, ErrorMessage = "out_of_range|At most 100,000,000,000,000 minor units.")]
    public long? AmountMinor { get; init; }

    [Required, Currency]
    public string? Currency { get; init; }

    internal Money ToMoney() => new(AmountMinor!.Value, Currency!);

    /// <summary>What is wrong with a total: it is never below zero; a refund or a void record is how money goes back.</summary>
    internal static IEnumerable<ValidationResult> ValidateTotal(MoneyInput? total, string member)
    {
        if (total?.AmountMinor < 0)
        {
            yield return new("out_of_range|The amount is zero or more.", [$"{member}.{nameof(AmountMinor)}"]);
        }
    }
}
