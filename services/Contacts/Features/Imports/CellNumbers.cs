using System.Buffers;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Crm.Contacts.Features.Imports;

/// <summary>What the number in a cell of a workbook says, which has no other type than its format: a date is a number of days.</summary>
internal static partial class CellNumbers
{
    /// <summary>Characters of a format code.</summary>
    private const int LongestCode = 255;

    private const int SecondsADay = 24 * 60 * 60;

    /// <summary>The number of 1904-01-01 in workbooks that do not count from there.</summary>
    private const int DaysUntil1904 = 1462;

    /// <summary>The number of the day after 9999-12-31.</summary>
    private const int EndOfDays = 2_958_466;

    private static readonly SearchValues<char> DateLetters = SearchValues.Create("dmyhsDMYHS");

    /// <summary>As people write it: without an exponent, and without the digits after the fifteenth that a binary fraction ends in. Whole numbers stay as they are.</summary>
    public static string ToText(string number)
    {
        var text = number.Trim();
        return !text.AsSpan().TrimStart('-').ContainsAnyExceptInRange('0', '9') ? text
            // The conversion rounds to fifteen digits.
            : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && Math.Abs(value) < 1e28
                ? ((decimal)value).ToString("0.############################", CultureInfo.InvariantCulture)
                : text;
    }

    /// <summary>ISO 8601: a date, with its time when it has one, or a time alone when it is of the day zero; null when no date has the number.</summary>
    /// <param name="from1904">The workbook counts the days from 1904-01-01, else from 1899-12-31, and has a 1900-02-29.</param>
    public static string? ToDate(string number, bool from1904)
    {
        if (!double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out var days))
        {
            return null;
        }

        var seconds = Math.Round((days + (from1904 ? DaysUntil1904 : 0)) * SecondsADay);
        if (!(seconds >= 0 && seconds < (double)EndOfDays * SecondsADay))
        {
            return null;
        }

        return seconds < SecondsADay
            ? TimeSpan.FromSeconds(seconds).ToString("hh':'mm':'ss", CultureInfo.InvariantCulture)
            : ToText(new DateTime(1899, 12, seconds < 60.0 * SecondsADay ? 31 : 30, 0, 0, 0, DateTimeKind.Unspecified).AddSeconds(seconds));
    }

    public static string ToText(DateTime date) =>
        date.ToString(date.TimeOfDay == TimeSpan.Zero ? "yyyy-MM-dd" : "yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>Whether a format that every workbook has (ECMA-376, part 1, 18.8.30) is that of a date or time.</summary>
    public static bool IsDate(int format) => format is (>= 14 and <= 22) or (>= 27 and <= 36) or (>= 45 and <= 47) or (>= 50 and <= 58);

    /// <summary>Whether a format of the workbook's own is that of a date or time.</summary>
    public static bool IsDate(string code) => code.Length <= LongestCode && Literals().Replace(code, "").AsSpan().ContainsAny(DateLetters);

    /// <summary>What is quoted, in brackets, or one character after another that says to take it as it is.</summary>
    [GeneratedRegex(@"""[^""]*""|\[[^\]]*\]|[\\_*].", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Literals();
}
