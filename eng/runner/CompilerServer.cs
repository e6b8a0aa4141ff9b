using System.Diagnostics;
using System.Globalization;

namespace Crm.Runner;

/// <summary>
/// The compiler as one process for all projects of a build: it and the analyzers are loaded and made fast once instead of
/// once a project. It belongs to this build alone and ends with it, so it is also used where the environment wants no
/// process to stay behind (UseSharedCompilation=false).
/// </summary>
internal sealed class CompilerServer : IDisposable
{
    private readonly string _name = $"crm-{Guid.NewGuid():N}";

    /// <summary>For `dotnet build`.</summary>
    public IReadOnlyList<string> Arguments => ["-p:UseSharedCompilation=true", $"-p:SharedCompilationId={_name}"];

    /// <summary>Profiles of methods cost more than a build of a minute gets back.</summary>
    public static IReadOnlyDictionary<string, string?> Environment { get; } = new Dictionary<string, string?> { ["DOTNET_TieredPGO"] = "0" };

    public void Dispose()
    {
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var pid))
                continue;
            try
            {
                if (!File.ReadAllText(Path.Combine(folder, "cmdline")).Split('\0').Contains($"-pipename:{_name}"))
                    continue;
                using var server = Process.GetProcessById(pid);
                server.Kill();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or InvalidOperationException)
            {
                // It is gone already, or another user's.
            }
        }
    }
}
