using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Crm.Hosting.Web;

/// <summary>One line of text: no control characters, so that it can never break a header or a log line.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class LineAttribute(int longest) : ValidationAttribute
{
    public int Longest { get; } = longest;

    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) => value switch
    {
        null => ValidationResult.Success,
        string { Length: 0 } => Error(validationContext, "too_short|The text is empty."),
        string text when text.Length > Longest && text.EnumerateRunes().Count() > Longest => Error(validationContext, $"too_long|At most {Longest} characters."),
        string text when text.Any(char.IsControl) => Error(validationContext, "bad_text|Control characters are not allowed here."),
        string text when text.EnumerateRunes().All(r => Rune.IsWhiteSpace(r) || Rune.GetUnicodeCategory(r) == UnicodeCategory.Format) => Error(validationContext, "too_short|The text is blank."),
        _ => ValidationResult.Success,
    };

    internal static ValidationResult Error(ValidationContext context, string message) =>
        new(message, context.MemberName is { } member ? [member] : null);
}

/// <summary>Text of several lines.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class ProseAttribute(int longest) : ValidationAttribute
{
    public int Longest { get; } = longest;

    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        value is string text && text.Length > Longest
            ? LineAttribute.Error(validationContext, $"too_long|At most {Longest} characters.")
            : ValidationResult.Success;
}

/// <summary>A lower-case word: letters, digits, <c>_</c>, <c>-</c> and <c>.</c>, 64 at most.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed partial class SlugAttribute : ValidationAttribute
{
    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        value is string text && !IsSlug(text)
            ? LineAttribute.Error(validationContext, "wrong_format|Lower-case letters, digits, _ - and . only, 1 to 64 of them.")
            : ValidationResult.Success;

    public static bool IsSlug(string text) => Pattern().IsMatch(text);

    [GeneratedRegex("^[a-z0-9][a-z0-9_.-]{0,63}$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Pattern();
}

/// <summary>ISO 4217 currency code.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed partial class CurrencyAttribute : ValidationAttribute
{
    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        value is string text && !Pattern().IsMatch(text)
            ? LineAttribute.Error(validationContext, "wrong_format|Three upper-case letters of ISO 4217.")
            : ValidationResult.Success;

    [GeneratedRegex("^[A-Z]{3}$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Pattern();
}

/// <summary>At most this many entries.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class AtMostAttribute(int count) : ValidationAttribute
{
    public int Count { get; } = count;

    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        value is System.Collections.ICollection collection && collection.Count > Count
            ? LineAttribute.Error(validationContext, $"too_many|At most {Count} entries.")
            : ValidationResult.Success;
}
