using System.Globalization;

namespace Crm.Runner.Bench;

/// <summary>What figures were measured on.</summary>
internal static class Machine
{
    /// <summary>Such as "2 cores of AMD EPYC 7763, 24 GB".</summary>
    public static string Describe()
    {
        var model = Field("/proc/cpuinfo", "model name");
        var memory = Field("/proc/meminfo", "MemTotal")?.Split(' ')[0];
        return string.Create(CultureInfo.InvariantCulture,
            $"{Environment.ProcessorCount} cores{(model is null ? "" : $" of {model}")}{(memory is null ? "" : $", {long.Parse(memory, CultureInfo.InvariantCulture) / 1_048_576.0:0} GB")}");
    }

    private static string? Field(string file, string name) => File.Exists(file)
        ? File.ReadLines(file).Select(l => l.Split(':', 2, StringSplitOptions.TrimEntries)).FirstOrDefault(l => l.Length == 2 && l[0] == name)?[1]
        : null;
}
