using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Crm.Runner;

/// <summary>
/// Compiles what the programs are made of ahead of time, by crossgen2: the first minute of a program then takes half the
/// processor time, and tests are full of first minutes. Each assembly is compiled once, however many programs and clones have
/// it, and again only when it has changed: what came of it lies in the user's cache. What cannot be compiled stays as it is.
/// </summary>
internal static class ReadyToRun
{
    /// <summary>
    /// The environment of programs that live for seconds or minutes, six and more on two cores: what is compiled ahead of time
    /// serves them well as it is, and half of their processor time would go into making it better; a fifth of what is left
    /// goes into collecting often and into threads that spin while they wait for work.
    /// </summary>
    public static readonly IReadOnlyDictionary<string, string> ShortLived = new Dictionary<string, string>
    {
        ["DOTNET_TieredPGO"] = "0",
        // Hexadecimal, as all numbers of the runtime's settings.
        ["DOTNET_TC_CallCountThreshold"] = "1000",
        ["DOTNET_EnableWriteXorExecute"] = "0",
        ["DOTNET_gcServer"] = "0",
        ["DOTNET_GCgen0size"] = "4000000",
        ["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0",
        // Nobody attaches to them, and whoever is killed would leave a socket and two pipes behind.
        ["DOTNET_EnableDiagnostics"] = "0",
    };

    private static readonly string Architecture = RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    public static async Task RunAsync(Topology topology, Action<string, string> progress, CancellationToken ct)
    {
        if (await FindCompilerAsync(topology.Root, ct) is not { } compiler)
        {
            progress("build", "there is no ahead-of-time compiler here: programs start more slowly");
            return;
        }

        var version = Path.GetFileName(compiler.TrimEnd('/'));
        var cache = Path.Combine(CacheFolder(), "crm-platform", "ready-to-run");
        Directory.CreateDirectory(cache);
        var programs = topology.Entries.Where(e => e.Project is not null).Select(e => e.OutputFolder(topology.Root, "Release")).Where(Directory.Exists);
        var assemblies = new Dictionary<string, List<string>>();
        foreach (var path in programs.SelectMany(p => Directory.EnumerateFiles(p, "*.dll")).Where(IsIntermediateLanguageOnly))
        {
            var compiled = Path.Combine(cache, $"{Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(path, ct)))}-{version}.dll");
            if (!assemblies.TryGetValue(compiled, out var same))
                assemblies[compiled] = same = [];
            same.Add(path);
        }

        var missing = assemblies.Where(a => !File.Exists(a.Key)).OrderByDescending(a => new FileInfo(a.Value[0]).Length).ToList();
        if (missing.Count > 0)
            progress("build", $"compiling {missing.Count} assemblies ahead of time");
        await Parallel.ForEachAsync(
            missing, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = ct },
            async (a, token) => await CompileAsync(Path.Combine(compiler, "tools", "crossgen2"), a.Value[0], a.Key, progress, token));
        foreach (var (compiled, paths) in assemblies.Where(a => File.Exists(a.Key)))
        {
            foreach (var path in paths)
                Replace(path, compiled);
            File.SetLastWriteTimeUtc(compiled, DateTime.UtcNow);
        }

        foreach (var old in Directory.EnumerateFiles(cache).Where(f => File.GetLastWriteTimeUtc(f) < DateTime.UtcNow.AddDays(-7)))
            File.Delete(old);
    }

    private static string CacheFolder() => Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } folder
        ? folder : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");

    /// <summary>The folder of its package, which is named by its version; null when the feed has none.</summary>
    private static async Task<string?> FindCompilerAsync(string root, CancellationToken ct)
    {
        var project = Path.Combine(root, "eng", "ready-to-run");
        var restored = await Shell.RunAsync(["dotnet", "restore", Path.Combine(project, "ready-to-run.csproj"), "-v", "q", "-nologo"], folder: root, ct: ct);
        if (restored.ExitCode != 0)
            return null;
        var packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
            ? folder : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        var compiler = Path.Combine(packages, $"microsoft.netcore.app.crossgen2.linux-{Architecture}", (await File.ReadAllTextAsync(Path.Combine(project, "obj", "version"), ct)).Trim());
        return File.Exists(Path.Combine(compiler, "tools", "crossgen2")) ? compiler : null;
    }

    private static async Task CompileAsync(string compiler, string assembly, string compiled, Action<string, string> progress, CancellationToken ct)
    {
        var unfinished = $"{compiled}.{Environment.ProcessId}";
        var frameworks = Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..");
        List<string> command = [compiler, assembly, "-o", unfinished, "-O", "--targetos", "linux", "--targetarch", Architecture, "-r", Path.Combine(Path.GetDirectoryName(assembly)!, "*.dll")];
        foreach (var name in (string[])["Microsoft.NETCore.App", "Microsoft.AspNetCore.App"])
            command.AddRange(["-r", Path.Combine(frameworks, name, Environment.Version.ToString(), "*.dll")]);
        var result = await Shell.RunAsync(command, ct: ct);
        if (result.ExitCode == 0)
            File.Move(unfinished, compiled, overwrite: true);
        else
            progress("build", $"{Path.GetFileName(assembly)} cannot be compiled ahead of time: {result.Output.Split('\n')[0]}");
    }

    /// <summary>By a rename: a program that runs keeps the file that it has.</summary>
    private static void Replace(string assembly, string compiled)
    {
        File.Copy(compiled, assembly + ".new", overwrite: true);
        File.Move(assembly + ".new", assembly, overwrite: true);
    }

    private static bool IsIntermediateLanguageOnly(string path)
    {
        using var reader = new PEReader(File.OpenRead(path));
        return reader.HasMetadata && reader.PEHeaders.CorHeader is { ManagedNativeHeaderDirectory.Size: 0 };
    }
}
