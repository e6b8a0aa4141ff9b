using System.Text;
using System.Text.RegularExpressions;

namespace Crm.Hosting.Erasure;

/// <summary>The ids of records that a text names; the same as <c>public_ids</c> in SQL.</summary>
internal static partial class PublicIds
{
    /// <param name="body">UTF-8.</param>
    public static string[] In(string text, ReadOnlySpan<byte> body) =>
        [.. Pattern().Matches(text).Concat(Pattern().Matches(Encoding.UTF8.GetString(body))).Select(m => m.Value).Distinct(StringComparer.Ordinal)];

    [GeneratedRegex(@"\b[a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25}\b", RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Pattern();
}
