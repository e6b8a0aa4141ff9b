using System.Text.RegularExpressions;
using Contracts.Tests.Grpc;

namespace Contracts.Tests;

public sealed partial class SolutionTests
{
    private static readonly string[] Inside = [.. ProjectLine().Matches(File.ReadAllText(Path.Combine(Repository.Root, "Crm.Platform.sln"))).Select(m => m.Groups["path"].Value.Replace('\\', '/'))];

    [Fact]
    public void The_solution_has_every_project() => Assert.Empty(Projects().Except(Inside, StringComparer.Ordinal));

    [Fact]
    public void The_stand_ins_for_missing_packages_are_in_no_solution()
    {
        // "dotnet sln add" takes them along: give it --include-references false.
        Assert.DoesNotContain(Inside, p => p.StartsWith("eng/feed-gaps/", StringComparison.Ordinal));
    }

    private static IEnumerable<string> Projects() =>
        new[] { "contracts", "hosting", "gateway", "services", "tests", "eng/runner" }
            .Select(folder => Path.Combine(Repository.Root, folder))
            .Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.csproj", SearchOption.AllDirectories))
            .Select(file => Path.GetRelativePath(Repository.Root, file).Replace('\\', '/'))
            .Where(file => !file.Contains("/node_modules/", StringComparison.Ordinal));

    [GeneratedRegex("\"(?<path>[^\"]+\\.csproj)\"", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex ProjectLine();
}
