namespace Crm.Hosting.Rights;

/// <summary>Values that keep their shape and lose their content.</summary>
public static class Masks
{
    private const string Hidden = "•••";

    /// <summary><c>ada@example.com</c> is <c>a•••@e•••.com</c>, <c>+4930123412</c> is <c>+49 ••• ••12</c>, other text <c>A•••</c>; masked again it stays so.</summary>
    public static string? Text(string? text)
    {
        if (string.IsNullOrEmpty(text))
        {
            return text;
        }

        var at = text.LastIndexOf('@');
        if (at > 0 && at < text.Length - 1 && !text.Any(char.IsWhiteSpace))
        {
            var domain = text[(at + 1)..];
            var dot = domain.LastIndexOf('.');
            return $"{First(text)}{Hidden}@{First(domain)}{Hidden}{(dot > 0 ? domain[dot..] : "")}";
        }

        if (text.Length == 12 && text[0] == '+' && text[3..10] == $" {Hidden} ••")
        {
            return text;
        }

        // Of a short number the two ends would be most of it.
        return text[0] == '+' && text.Length >= 10 && text.Skip(1).All(char.IsAsciiDigit)
            ? $"{text[..3]} {Hidden} ••{text[^2..]}"
            : text[0] == '+' ? $"+{Hidden}" : $"{First(text)}{Hidden}";
    }

    /// <summary>Text, or several of them, masked; nothing else comes out.</summary>
    internal static object? Of(object? value) => value switch
    {
        string text => Text(text),
        IEnumerable<string> texts => texts.Select(t => Text(t)!).ToList(),
        _ => null,
    };

    private static string First(string text) =>
        char.IsHighSurrogate(text[0]) && text.Length > 1 ? text[..2] : text[..1];
}
