using System.Text.RegularExpressions;

namespace Crm.Runner.Commands;

/// <summary>
/// Verifies the audit log of every service, or writes it out for a SIEM. What either printed and was kept elsewhere proves,
/// as <c>verify --heads FILE</c>, that nothing was cut off or rewritten since.
/// </summary>
internal static partial class AuditCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is [])
            args = ["verify"];
        if (args is not (["verify"] or ["verify", "--heads", _] or ["export"]))
            throw new RunnerException($"audit does not know '{string.Join(' ', args)}'.", "Write: ./crm audit verify [--heads FILE], or ./crm audit export.");

        var heads = args is [_, _, var file] ? ReadHeads(await ReadAsync(file, ct)) : null;
        if (heads is { Count: 0 })
            throw new RunnerException($"{args[2]} has no head of an audit log.", "It is a file with what ./crm audit verify or ./crm audit export printed.");

        var (_, failed) = await EveryService.RunModeAsync(
            service => heads?.GetValueOrDefault(service) is { } head ? ["--audit", args[0], "--head", head] : ["--audit", args[0]], ct,
            service => heads?.ContainsKey(service) is false ? "the file has no head of this one" : null);
        return failed == 0 ? 0 : 1;
    }

    /// <summary>By service the last head, SEQ:HASH, of what <c>verify</c> or <c>export</c> printed.</summary>
    internal static IReadOnlyDictionary<string, string> ReadHeads(IEnumerable<string> lines)
    {
        var heads = new Dictionary<string, string>(StringComparer.Ordinal);
        var service = "";
        foreach (var line in lines)
        {
            if (Service().Match(line) is { Success: true } title)
                service = title.Groups["name"].Value;
            else if (Head().Match(line) is { Success: true } head)
                heads[service] = $"{head.Groups["seq"].Value}:{head.Groups["hash"].Value}";
        }

        return heads;
    }

    private static async Task<string[]> ReadAsync(string file, CancellationToken ct)
    {
        try
        {
            return await File.ReadAllLinesAsync(file, ct);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RunnerException($"{file} cannot be read: {e.Message}", "It is a file with what ./crm audit verify or ./crm audit export printed.");
        }
    }

    [GeneratedRegex(@"^(?<name>[\w-]+):$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Service();

    [GeneratedRegex(@"\bhead (?<seq>\d+):(?<hash>[0-9a-f]{64})$|^ *\{""seq"":(?<seq>\d+),.*""hash"":""(?<hash>[0-9a-f]{64})""\}$", RegexOptions.ExplicitCapture, 10_000)]
    private static partial Regex Head();
}
