using System.Globalization;

namespace Crm.Runner.Images;

/// <summary>
/// A base image like the chiseled one, for machines that can pull none: Debian's libraries that .NET needs, without a shell
/// or a package manager, and the runtime of the installed SDK.
/// </summary>
internal static class DebianBase
{
    private const string Suite = "bookworm";

    private const string Packages = "base-files,libc6,libgcc-s1,libstdc++6,libicu72,libssl3,zlib1g,ca-certificates,tzdata";

    /// <summary>Nothing but the runtime is run: what the packages bring along as programs is taken out.</summary>
    private static readonly string[] NotNeeded =
        ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local", "boot", "home", "media", "mnt", "opt", "srv", "var/cache", "var/lib/apt", "var/log", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/debconf", "usr/share/perl5"];

    /// <summary>Built and pushed to the engine's registry, unless it is there.</summary>
    /// <returns>Its name, and the installed packages as apt lists them.</returns>
    public static async Task<BaseImage> BuildAsync(ContainerEngine engine, string folder, Action<string, string> progress, CancellationToken ct)
    {
        var runtime = RuntimeFolder();
        var version = Path.GetFileName(Directory.EnumerateDirectories(Path.Combine(runtime, "shared", "Microsoft.AspNetCore.App")).Max(StringComparer.Ordinal)!);
        var name = $"{engine.RegistryHost}/dotnet/aspnet:{version}-{Suite}";
        var packages = Path.Combine(folder, $"base-{version}-{Suite}.packages");
        if (File.Exists(packages) && (await engine.RunAsync(["image", "inspect", name], ct)).ExitCode == 0)
            return new(name, packages);

        progress("base", $"making {name} from Debian's packages, a minute");
        Directory.CreateDirectory(folder);
        var root = Path.Combine(folder, "base");
        await ExtractAsync(Packages, root, ct);
        // What the package's script would have done.
        var authorities = Directory.EnumerateFiles(Path.Combine(root, "usr/share/ca-certificates/mozilla"), "*.crt").Order(StringComparer.Ordinal).Select(File.ReadAllText);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/ssl/certs/ca-certificates.crt"), string.Concat(authorities), ct);
        await File.WriteAllLinesAsync(packages + ".unfinished", (await DebianPackage.ReadAsync(root, ct)).Select(p => p.ToLine()), ct);
        foreach (var rest in NotNeeded.Select(p => Path.Combine(root, p)).Where(Directory.Exists))
        {
            Directory.Delete(rest, recursive: true);
            Directory.CreateDirectory(rest);
        }

        KeepLicencesOnly(root);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/passwd"), "root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:10001:10001:app:/app:/usr/sbin/nologin\n", ct);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/group"), "root:x:0:\napp:x:10001:\n", ct);
        var target = Path.Combine(root, "usr/share/dotnet");
        Directory.CreateDirectory(target);
        await RequireAsync(["cp", "-r", Path.Combine(runtime, "dotnet"), Path.Combine(runtime, "host"), Path.Combine(runtime, "LICENSE.txt"), Path.Combine(runtime, "ThirdPartyNotices.txt"), target], ct);
        foreach (var framework in (string[])["Microsoft.NETCore.App", "Microsoft.AspNetCore.App"])
        {
            Directory.CreateDirectory(Path.Combine(target, "shared", framework));
            await RequireAsync(["cp", "-r", Path.Combine(runtime, "shared", framework, version), Path.Combine(target, "shared", framework)], ct);
        }

        var archive = Path.Combine(folder, "base.tar");
        await RequireAsync(["tar", "--numeric-owner", "--owner=0", "--group=0", "--sort=name", "-C", root, "-cf", archive, "."], ct);
        await engine.RequireAsync(
            ["import", "--change", "ENV ASPNETCORE_HTTP_PORTS=8080 DOTNET_ROOT=/usr/share/dotnet PATH=/usr/share/dotnet", "--change", "USER 10001", archive, name], ct);
        await engine.RequireAsync(["push", name], ct);
        Directory.Delete(root, recursive: true);
        File.Delete(archive);
        File.Move(packages + ".unfinished", packages, overwrite: true);
        progress("base", name);
        return new(name, packages);
    }

    /// <summary>The packages and what they depend on, unpacked and not installed: no script of theirs is run.</summary>
    public static async Task ExtractAsync(string packages, string root, CancellationToken ct)
    {
        if (Directory.Exists(root))
            Directory.Delete(root, recursive: true);
        await RequireAsync(["mmdebstrap", "--variant=extract", $"--include={packages}", "--mode=root", "--skip=essential/unlink,cleanup/apt/cache", Suite, root], ct);
    }

    public static void KeepLicencesOnly(string root)
    {
        foreach (var file in Directory.EnumerateFiles(Path.Combine(root, "usr/share/doc"), "*", SearchOption.AllDirectories).Where(f => Path.GetFileName(f) != "copyright").ToList())
            File.Delete(file);
    }

    private static string RuntimeFolder()
    {
        // This program runs on it: …/dotnet/shared/Microsoft.NETCore.App/10.0.x/System.Private.CoreLib.dll
        var framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        return Path.GetFullPath(Path.Combine(framework, "..", "..", ".."));
    }

    public static async Task RequireAsync(IReadOnlyList<string> command, CancellationToken ct)
    {
        var result = await Shell.RunAsync(command, ct: ct);
        if (result.ExitCode != 0)
            throw new RunnerException($"{command[0]} failed:\n{string.Join('\n', result.Output.Split('\n').TakeLast(15))}", "It needs Debian's packages: does apt-get update work here?");
    }
}

/// <param name="PackagesFile">A line a Debian package in it; null when somebody else made it.</param>
internal sealed record BaseImage(string Name, string? PackagesFile);

/// <param name="Licences">As its copyright file calls them.</param>
internal sealed record DebianPackage(string Name, string Version, string Architecture, IReadOnlyList<string> Licences)
{
    public string ToLine() => string.Join('\t', Name, Version, Architecture, string.Join('|', Licences));

    public static DebianPackage FromLine(string line) =>
        line.Split('\t') is [var name, var version, var architecture, var licences]
            ? new(name, version, architecture, licences.Split('|', StringSplitOptions.RemoveEmptyEntries))
            : throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"Not a package: {line}"));

    /// <summary>Of the archives that were extracted into the folder; nothing was installed there, so dpkg knows of none.</summary>
    public static async Task<IReadOnlyList<DebianPackage>> ReadAsync(string root, CancellationToken ct)
    {
        var packages = new List<DebianPackage>();
        foreach (var archive in Directory.EnumerateFiles(Path.Combine(root, "var/cache/apt/archives"), "*.deb").Order(StringComparer.Ordinal))
        {
            var described = await Shell.RunAsync(["dpkg-deb", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\t", archive], ct: ct);
            var package = FromLine(described.Output);
            var copyright = Path.Combine(root, "usr/share/doc", package.Name, "copyright");
            // The machine-readable format of copyright files; older ones say it in prose only.
            var licences = File.Exists(copyright)
                ? File.ReadLines(copyright).Where(l => l.StartsWith("License: ", StringComparison.Ordinal)).Select(l => l["License: ".Length..].Trim()).Where(l => l.Length > 0).Distinct(StringComparer.Ordinal)
                : [];
            packages.Add(package with { Licences = [.. licences] });
        }

        return packages;
    }
}
