using System.Globalization;
using System.Net.Mail;
using System.Text;
using Crm.Campaigns.Domain.Campaigns;

namespace Crm.Campaigns.Features.Sending;

/// <summary>
/// Writes a mail (RFC 5322, MIME): UTF-8 in quoted-printable, multipart/alternative when there is html. Every
/// line is ASCII and short; header values are one line whatever was put into them.
/// </summary>
internal static class MailWriter
{
    private const int LongestQuotedLine = 76;

    /// <param name="messageId">With its angle brackets.</param>
    /// <param name="boundary">A word that no other mail has; text in quoted-printable cannot contain it.</param>
    /// <param name="unsubscribe">Address for one-click unsubscription (RFC 8058); null when there is nothing to unsubscribe from.</param>
    public static byte[] Write(
        MailAddress from, string toAddress, string toName, RenderedMail mail, string messageId, string boundary, DateTimeOffset date, string? unsubscribe)
    {
        var message = new StringBuilder();
        Header(message, "From", Mailbox(from.DisplayName, from.Address));
        Header(message, "To", Mailbox(CompiledTemplate.OneLine(toName), CompiledTemplate.OneLine(toAddress)));
        Header(message, "Subject", Text(CompiledTemplate.OneLine(mail.Subject)));
        Header(message, "Date", date.ToString("ddd, dd MMM yyyy HH:mm:ss ", CultureInfo.InvariantCulture) + "+0000");
        Header(message, "Message-ID", messageId);
        if (unsubscribe is not null)
        {
            Header(message, "List-Unsubscribe", $"\r\n <{unsubscribe}>");
            Header(message, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
        }

        Header(message, "MIME-Version", "1.0");
        if (mail.Html is null)
        {
            Part(message, "text/plain", mail.Text);
        }
        else
        {
            var mark = $"=_{boundary}";
            Header(message, "Content-Type", $"multipart/alternative;\r\n boundary=\"{mark}\"");
            message.Append("\r\n--").Append(mark).Append("\r\n");
            Part(message, "text/plain", mail.Text);
            message.Append("--").Append(mark).Append("\r\n");
            Part(message, "text/html", mail.Html);
            message.Append("--").Append(mark).Append("--\r\n");
        }

        return Encoding.UTF8.GetBytes(message.ToString());
    }

    private static void Header(StringBuilder message, string name, string value) => message.Append(name).Append(": ").Append(value).Append("\r\n");

    private static void Part(StringBuilder message, string type, string text)
    {
        Header(message, "Content-Type", $"{type}; charset=utf-8");
        Header(message, "Content-Transfer-Encoding", "quoted-printable");
        message.Append("\r\n");
        QuotedPrintable(message, text);
    }

    private static string Mailbox(string name, string address)
    {
        if (name.Length == 0)
        {
            return $"<{address}>";
        }

        var quoted = name.Length <= 60 && name.All(c => c is >= ' ' and <= '~');
        return quoted
            ? $"\"{name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"\r\n <{address}>"
            : $"{EncodedWords(name)}\r\n <{address}>";
    }

    /// <summary>Unstructured text: as it is when short and ASCII, else as encoded words (RFC 2047).</summary>
    private static string Text(string text) =>
        text.Length <= 60 && text.All(c => c is >= ' ' and <= '~') && !text.Contains("=?", StringComparison.Ordinal) ? text : EncodedWords(text);

    private static string EncodedWords(string text)
    {
        // 36 bytes are 48 characters of base64, 60 with the frame: with a header's name at most 76, and never half a character.
        const int Most = 36;
        var words = new List<string>();
        var bytes = new List<byte>(Most);
        Span<byte> encoded = stackalloc byte[4];
        foreach (var rune in text.EnumerateRunes())
        {
            var count = rune.EncodeToUtf8(encoded);
            if (bytes.Count + count > Most)
            {
                words.Add(Word());
            }

            bytes.AddRange(encoded[..count]);
        }

        words.Add(Word());
        return string.Join("\r\n ", words);

        string Word()
        {
            var word = $"=?utf-8?B?{Convert.ToBase64String([.. bytes])}?=";
            bytes.Clear();
            return word;
        }
    }

    /// <summary>RFC 2045 6.7; every kind of line end becomes CRLF, and so does the end of the text.</summary>
    private static void QuotedPrintable(StringBuilder message, string text)
    {
        foreach (var line in text.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n'))
        {
            var bytes = Encoding.UTF8.GetBytes(line);
            var length = 0;
            for (var i = 0; i < bytes.Length; i++)
            {
                var value = bytes[i];
                var last = i == bytes.Length - 1;
                var literal = value is >= 33 and <= 126 and not (byte)'=' || (value is (byte)' ' or (byte)'\t' && !last);
                var width = literal ? 1 : 3;
                if (length + width > (last ? LongestQuotedLine : LongestQuotedLine - 1))
                {
                    message.Append("=\r\n");
                    length = 0;
                }

                if (literal)
                {
                    message.Append((char)value);
                }
                else
                {
                    message.Append(CultureInfo.InvariantCulture, $"={value:X2}");
                }

                length += width;
            }

            message.Append("\r\n");
        }
    }
}
