namespace Contracts.Tests.Events;

/// <summary>Files that are made from the code and committed; <c>eng/contracts.sh</c> makes them anew.</summary>
internal static class Generated
{
    private static readonly bool Write = Environment.GetEnvironmentVariable("CRM_WRITE_CONTRACTS") is { Length: > 0 };

    public static void Check(string file, string text)
    {
        if (Write)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
            return;
        }

        Assert.True(File.Exists(file), $"{file} is missing: run eng/contracts.sh.");
        var (committed, now) = (File.ReadAllText(file).Split('\n'), text.Split('\n'));
        var line = Enumerable.Range(0, Math.Max(committed.Length, now.Length)).FirstOrDefault(i => committed.ElementAtOrDefault(i) != now.ElementAtOrDefault(i), -1);
        Assert.True(line < 0, $"{file} is not what the code says: run eng/contracts.sh. Line {line + 1} is\n{committed.ElementAtOrDefault(line)}\n{now.ElementAtOrDefault(line)}");
    }
}
