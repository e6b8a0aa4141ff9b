using System.Globalization;
using System.Text.Json;
using Crm.Contracts;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.CustomFields;

/// <summary>What a value of a type is: from JSON, as the API has it, and from text, as files and query parameters have it.</summary>
internal static class FieldValue
{
    /// <summary>Whole numbers that every reader of JSON reads exactly (RFC 8259).</summary>
    public const long LargestInteger = 9_007_199_254_740_991;

    /// <summary>Minor units, as of orders.</summary>
    public const long LargestAmount = 100_000_000_000_000;

    /// <summary>Characters of a text that no other customer has.</summary>
    public const int LongestUnique = 500;

    /// <summary>For people, what a number is.</summary>
    public const string ExpectedNumber = "A number of at most 28 digits.";

    /// <summary>Characters of a number, however it is written.</summary>
    private const int LongestNumber = 100;

    /// <summary>Characters of its exponent, with the <c>e</c>.</summary>
    private const int LongestExponent = 5;

    /// <summary>The members of an amount of money.</summary>
    public const string AmountMinor = "amount_minor";
    public const string Currency = "currency";

    /// <summary>As it is stored; numbers are written in one way, instants in UTC to the microsecond, so that their order is the order of their texts.</summary>
    /// <returns>Null when the value is none of the field.</returns>
    public static JsonElement? Canonical(this CustomField field, JsonElement value)
    {
        switch (field.Type)
        {
            case CustomFieldType.Number or CustomFieldType.Integer:
                return value.ValueKind == JsonValueKind.Number && NumberOf(value.GetRawText()) is { } number && IsOf(field.Type, number) ? JsonSerializer.SerializeToElement(number) : null;
            case CustomFieldType.Boolean:
                return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value : null;
            case CustomFieldType.Money:
                return MoneyOf(value) is { } money ? Write(money) : null;
            default:
                return value.ValueKind == JsonValueKind.String && TextOf(field, value.GetString()!) is { } text ? JsonSerializer.SerializeToElement(text) : null;
        }
    }

    /// <summary>The same of a value that no field is defined for; null of a number that cannot be stored.</summary>
    public static JsonElement? Plain(JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Number)
        {
            return value;
        }

        return NumberOf(value.GetRawText()) is { } number ? JsonSerializer.SerializeToElement(number) : null;
    }

    /// <summary>Whether all numbers in it can be stored.</summary>
    public static bool Fits(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Number => NumberOf(value.GetRawText()) is not null,
        JsonValueKind.Object => value.EnumerateObject().All(m => Fits(m.Value)),
        JsonValueKind.Array => value.EnumerateArray().All(Fits),
        _ => true,
    };

    /// <summary>From text; null when it says no value of the field. A choice is found by its label, too.</summary>
    /// <param name="dateFormat">Of dates that are not ISO 8601.</param>
    public static JsonElement? Parse(this CustomField field, string text, string? dateFormat = null)
    {
        switch (field.Type)
        {
            case CustomFieldType.Number or CustomFieldType.Integer:
                return NumberOf(text) is { } number && IsOf(field.Type, number) ? JsonSerializer.SerializeToElement(number) : null;
            case CustomFieldType.Boolean:
                return text.ToLowerInvariant() switch
                {
                    "true" or "yes" or "1" => JsonSerializer.SerializeToElement(true),
                    "false" or "no" or "0" => JsonSerializer.SerializeToElement(false),
                    _ => null,
                };
            case CustomFieldType.Date when dateFormat is not null && DateOnly.TryParseExact(text, dateFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out var date):
                return JsonSerializer.SerializeToElement(date);
            case CustomFieldType.Money:
                return text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var amount, var currency]
                    && long.TryParse(amount, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var minor) && IsMoney(minor, currency)
                    ? Write(new(minor, currency))
                    : null;
            case CustomFieldType.Choice:
                var option = field.Options.Find(o => o.Value == text)
                    ?? field.Options.Find(o => string.Equals(o.Value, text, StringComparison.OrdinalIgnoreCase))
                    ?? field.Options.Find(o => string.Equals(o.Label, text, StringComparison.OrdinalIgnoreCase));
                return option is null ? null : JsonSerializer.SerializeToElement(option.Value);
            default:
                return TextOf(field, text) is { } known ? JsonSerializer.SerializeToElement(known) : null;
        }
    }

    /// <summary>For people, what a value of the field is.</summary>
    public static string Expected(this CustomField field) => field.Type switch
    {
        CustomFieldType.Number => ExpectedNumber,
        CustomFieldType.Integer => "A whole number of at most 15 digits.",
        CustomFieldType.Boolean => "true or false.",
        CustomFieldType.Date => "A date, such as 2026-01-31.",
        CustomFieldType.Instant => "An RFC 3339 instant with its zone, such as 2026-01-31T09:00:00Z.",
        CustomFieldType.Choice => $"One of {string.Join(", ", field.Options.Where(o => o.Archived is not true).Take(20).Select(o => o.Value))}{(field.Options.Count > 20 ? ", …" : ".")}",
        CustomFieldType.Money => "Minor units and an ISO 4217 currency: an amount_minor of at most 100,000,000,000,000 and a currency, or as text 1250 EUR for 12.50 euros.",
        CustomFieldType.Url => $"An http or https address of at most {CustomerInput.LongestAttribute} characters.",
        _ => $"Text of at most {CustomerInput.LongestAttribute} characters.",
    };

    /// <summary>Null when it is none.</summary>
    public static Money? MoneyOf(JsonElement value) =>
        value.ValueKind == JsonValueKind.Object && value.EnumerateObject().Count() == 2
        && value.TryGetProperty(AmountMinor, out var amount) && amount.ValueKind == JsonValueKind.Number && amount.TryGetInt64(out var minor)
        && value.TryGetProperty(Currency, out var currency) && currency.ValueKind == JsonValueKind.String && IsMoney(minor, currency.GetString()!)
            ? new(minor, currency.GetString()!)
            : null;

    /// <summary>By which a value of a unique field is compared; null of what is none of the field.</summary>
    public static string? KeyOf(this CustomField field, JsonElement value) => field.Canonical(value) is not { } known ? null
        : known.ValueKind == JsonValueKind.Number ? decimal.Truncate(known.GetDecimal()).ToString(CultureInfo.InvariantCulture)
        : known.GetString();

    private static bool IsMoney(long minor, string currency) => minor is >= -LargestAmount and <= LargestAmount && currency.Length == 3 && currency.All(char.IsAsciiLetterUpper);

    private static JsonElement Write(Money money) => JsonSerializer.SerializeToElement(money, JsonDefaults.Options);

    /// <summary>Rounded to the digits that a decimal has, without zeros at its end.</summary>
    /// <returns>Null of what is none, is too large, or would be rounded to 0; of some exponents nobody can say.</returns>
    private static decimal? NumberOf(string text)
    {
        var exponent = text.AsSpan().IndexOfAny('e', 'E');
        var digits = exponent < 0 ? text : text[..exponent];
        if (text.Length > LongestNumber || text.Length - digits.Length > LongestExponent
            || !decimal.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out var number)
            || (number == 0 && digits.Any(c => c is >= '1' and <= '9')))
        {
            return null;
        }

        // A quotient has no more decimals than it needs.
        return number / 1.0000000000000000000000000000m;
    }

    private static bool IsOf(CustomFieldType type, decimal number) =>
        type == CustomFieldType.Number || (decimal.Truncate(number) == number && Math.Abs(number) <= LargestInteger);

    private static string? TextOf(CustomField field, string text) => text.Length > CustomerInput.LongestAttribute || text.Contains('\0', StringComparison.Ordinal) ? null : field.Type switch
    {
        CustomFieldType.Date => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _) ? text : null,
        CustomFieldType.Instant => Instants.TryParse(text, out var instant) ? instant.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture) : null,
        CustomFieldType.Choice => field.Options.Exists(o => o.Value == text) ? text : null,
        CustomFieldType.Url => Uri.TryCreate(text, UriKind.Absolute, out var uri) && (uri.Scheme == Uri.UriSchemeHttps || uri.Scheme == Uri.UriSchemeHttp) && !text.Any(char.IsWhiteSpace) ? text : null,
        _ => text.Normalize(),
    };
}
