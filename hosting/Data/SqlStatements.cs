using System.Text.RegularExpressions;

namespace Crm.Hosting.Data;

/// <summary>The statements of a migration, for who looks at what they do.</summary>
public static partial class SqlStatements
{
    /// <summary>Each in one line, without comments; the bodies of functions and blocks are empty texts.</summary>
    public static IEnumerable<string> Of(string sql) =>
        Body().Replace(Comment().Replace(sql, ""), "''").Split(';').Select(s => Blanks().Replace(s, " ").Trim()).Where(s => s.Length > 0);

    [GeneratedRegex(@"--[^\n]*", RegexOptions.None, 10_000)]
    private static partial Regex Comment();

    [GeneratedRegex(@"\$(?<tag>\w*)\$.*?\$\k<tag>\$", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Body();

    [GeneratedRegex(@"\s+", RegexOptions.None, 10_000)]
    private static partial Regex Blanks();
}
