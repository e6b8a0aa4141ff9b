using System.Reflection;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Crm.Runner;

/// <summary>
/// Compiles what the programs are made of ahead of time, by crossgen2, as it is in the images: a start then takes a second
/// of processor time instead of ten, and tests and chaos are full of starts. Each assembly is compiled once, however many
/// programs have it, and again only when it has changed. Without the compiler the programs stay as they are.
/// </summary>
internal static class ReadyToRun
{
    private static readonly string Version = typeof(ReadyToRun).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(a => a.Key == "CrossgenVersion").Value!;
    private static readonly string Architecture = RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    public static async Task RunAsync(Topology topology, Action<string, string> progress, CancellationToken ct)
    {
        var packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
            ? folder : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        var compiler = Path.Combine(packages, $"microsoft.netcore.app.crossgen2.linux-{Architecture}", Version, "tools", "crossgen2");
        if (!File.Exists(compiler))
        {
            progress("build", "there is no ahead-of-time compiler here: programs start more slowly");
            return;
        }

        var cache = Path.Combine(Installation.FolderOf(topology.Root), "ready-to-run");
        Directory.CreateDirectory(cache);
        var programs = topology.Entries.Where(e => e.Project is not null).Select(e => e.OutputFolder(topology.Root, "Release")).Where(Directory.Exists);
        var assemblies = new Dictionary<string, List<string>>();
        foreach (var path in programs.SelectMany(p => Directory.EnumerateFiles(p, "*.dll")).Where(IsIntermediateLanguageOnly))
        {
            var compiled = Path.Combine(cache, $"{Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(path, ct)))}-{Version}.dll");
            if (!assemblies.TryGetValue(compiled, out var same))
                assemblies[compiled] = same = [];
            same.Add(path);
        }

        var missing = assemblies.Where(a => !File.Exists(a.Key)).OrderByDescending(a => new FileInfo(a.Value[0]).Length).ToList();
        if (missing.Count > 0)
            progress("build", $"compiling {missing.Count} assemblies ahead of time");
        await Parallel.ForEachAsync(
            missing, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = ct },
            async (a, token) => await CompileAsync(compiler, a.Value[0], a.Key, token));
        foreach (var (compiled, paths) in assemblies)
        {
            foreach (var path in paths)
                Replace(path, compiled);
        }

        foreach (var old in Directory.EnumerateFiles(cache).Where(f => !assemblies.ContainsKey(f) && File.GetLastWriteTimeUtc(f) < DateTime.UtcNow.AddDays(-7)))
            File.Delete(old);
    }

    private static async Task CompileAsync(string compiler, string assembly, string compiled, CancellationToken ct)
    {
        var unfinished = compiled + ".unfinished";
        var frameworks = Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..");
        List<string> command = [compiler, assembly, "-o", unfinished, "-O", "--targetos", "linux", "--targetarch", Architecture, "-r", Path.Combine(Path.GetDirectoryName(assembly)!, "*.dll")];
        foreach (var name in (string[])["Microsoft.NETCore.App", "Microsoft.AspNetCore.App"])
            command.AddRange(["-r", Path.Combine(frameworks, name, Environment.Version.ToString(), "*.dll")]);
        var result = await Shell.RunAsync(command, ct: ct);
        if (result.ExitCode != 0)
            throw new RunnerException($"{Path.GetFileName(assembly)} could not be compiled ahead of time:\n{result.Output}", "");
        File.Move(unfinished, compiled, overwrite: true);
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
