using System.Globalization;

namespace Crm.Campaigns.Features.Sending;

internal static class MailRecipient
{
    private static readonly IdnMapping Idn = new() { UseStd3AsciiRules = true };

    /// <summary>
    /// The address as a mail server takes it, the domain in its ASCII form; null when mail cannot be sent to it. No
    /// blank, control character or bracket passes, so that an address can never break out of its command or header.
    /// </summary>
    public static string? Normalize(string address)
    {
        var at = address.LastIndexOf('@');
        if (at is < 1 or > 64 || at == address.Length - 1
            || address.Any(c => char.IsControl(c) || char.IsWhiteSpace(c) || char.IsSurrogate(c) || c is '<' or '>' or '(' or ')' or ',' or ';' or ':' or '"' or '\\' or '[' or ']'))
        {
            return null;
        }

        try
        {
            var domain = Idn.GetAscii(address[(at + 1)..]);
            return domain.Length <= 253 ? $"{address[..at]}@{domain}" : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }
}
