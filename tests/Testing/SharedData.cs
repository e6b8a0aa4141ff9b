using Crm.Runner;
using Xunit;

namespace Crm.Testing;

/// <summary>The published data that tests read: CRM_SHARED, default ../shared beside the repository.</summary>
public static class SharedData
{
    public static string Folder { get; } = Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder
        ? Path.GetFullPath(folder, Topology.FindRoot())
        : Path.GetFullPath(Path.Combine(Topology.FindRoot(), "..", "shared"));

    /// <summary>Path of a file such as "data/CDNOW_sample.txt". Without it the test is skipped; in CI it fails.</summary>
    public static string Require(string file)
    {
        var path = Path.Combine(Folder, file);
        if (!File.Exists(path))
        {
            var reason = $"{file} is not under {Folder}; name its folder in CRM_SHARED.";
            if (string.Equals(Environment.GetEnvironmentVariable("CI"), "true", StringComparison.OrdinalIgnoreCase))
                Assert.Fail(reason);
            Assert.Skip(reason);
        }

        return path;
    }
}
