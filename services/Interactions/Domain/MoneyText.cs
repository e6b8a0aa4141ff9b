using System.Globalization;
using Crm.Contracts;

namespace Crm.Interactions.Domain;

internal static class MoneyText
{
    /// <summary>Currencies whose minor unit is not a hundredth: ISO 4217, list one, column "minor unit".</summary>
    private static readonly Dictionary<string, int> Exponents = new(StringComparer.Ordinal)
    {
        ["BIF"] = 0, ["CLP"] = 0, ["DJF"] = 0, ["GNF"] = 0, ["ISK"] = 0, ["JPY"] = 0, ["KMF"] = 0, ["KRW"] = 0, ["PYG"] = 0,
        ["RWF"] = 0, ["UGX"] = 0, ["UYI"] = 0, ["VND"] = 0, ["VUV"] = 0, ["XAF"] = 0, ["XOF"] = 0, ["XPF"] = 0,
        ["BHD"] = 3, ["IQD"] = 3, ["JOD"] = 3, ["KWD"] = 3, ["LYD"] = 3, ["OMR"] = 3, ["TND"] = 3,
        ["CLF"] = 4, ["UYW"] = 4,
    };

    /// <summary>2390 USD is <c>23.90 USD</c>, 2390 JPY is <c>2390 JPY</c>.</summary>
    public static string ToText(this Money money)
    {
        var exponent = Exponents.GetValueOrDefault(money.Currency, 2);
        var amount = money.AmountMinor / (decimal)Math.Pow(10, exponent);
        return $"{amount.ToString($"F{exponent}", CultureInfo.InvariantCulture)} {money.Currency}";
    }
}
