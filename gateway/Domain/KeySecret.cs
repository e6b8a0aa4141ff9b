using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Crm.Gateway.Domain;

/// <summary>The secret of a key as its holder has it: a prefix that leak scanners know, and 256 random bits.</summary>
internal sealed partial class KeySecret
{
    private const string Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    private const string Live = "sk_live_";

    private KeySecret(string text) => Text = text;

    public string Text { get; }

    public string Hint => Text[^4..];

    /// <summary>43 of 62 letters carry 256 bits.</summary>
    public static KeySecret Generate() => new(Live + RandomNumberGenerator.GetString(Alphabet, 43));

    /// <summary>Whether it looks like a key at all, of this installation or of a sandbox.</summary>
    public static bool IsKey(string text) => text.StartsWith("sk_", StringComparison.Ordinal);

    /// <summary>Keys of a sandbox, another installation.</summary>
    public static bool IsTest(string text) => text.StartsWith("sk_test_", StringComparison.Ordinal);

    public static bool TryParse(string text, [NotNullWhen(true)] out KeySecret? secret)
    {
        secret = Form().IsMatch(text) ? new(text) : null;
        return secret is not null;
    }

    public byte[] Hash() => SHA256.HashData(Encoding.ASCII.GetBytes(Text));

    [GeneratedRegex("^sk_live_[A-Za-z0-9_-]{43}$(?!\n)", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Form();
}
