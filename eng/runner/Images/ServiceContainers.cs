using System.Globalization;
using System.Text.Json;

namespace Crm.Runner.Images;

/// <summary>
/// The services of a platform as containers of their images instead of built programs, as hardened as on a cluster:
/// read-only, no capabilities, no new privileges, not root. They share the host's network, so that addresses stay those of
/// the platform, all on loopback.
/// </summary>
public sealed class ServiceContainers
{
    private const string User = "10001";

    private const string Secrets = "/run/secrets/crm", TrustedKeys = "/run/secrets/trusted-keys";

    private static readonly string[] Capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    private static readonly string[] Shells = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "toybox", "apt", "apt-get", "dpkg", "perl", "python3"];
    private static readonly string[] ProgramFolders = ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"];
    private static readonly string[] Labels =
        [.. new[] { "title", "description", "version", "revision", "created", "licenses", "vendor", "authors", "base.name", "base.digest" }.Select(l => "org.opencontainers.image." + l)];

    private readonly ContainerEngine _engine;
    private readonly Func<string, string> _imageOf;
    private readonly string _label = "crm.platform=" + SecretText.New(12);
    private readonly string _group = Shell.Run(["id", "-g"]).Output.Trim();

    internal ServiceContainers(ContainerEngine engine, string tag)
    {
        _engine = engine;
        Tag = tag;
        _imageOf = service => $"{engine.RegistryHost}/crm-{service}:{tag}";
    }

    public string Tag { get; }

    /// <summary>The images that ./crm images --local-base made here, when the engine runs and has all of them; else why not.</summary>
    public static async Task<(ServiceContainers? Containers, string Reason)> FindAsync(string root, string tag = "latest", CancellationToken ct = default)
    {
        using var installation = Installation.Look(root);
        if (ContainerEngine.Find(installation) is not { } engine)
            return (null, "No Docker engine of this clone runs: ./crm images --local-base starts one and makes the images.");
        var containers = new ServiceContainers(engine, tag);
        foreach (var service in Topology.Load(root).Services)
        {
            if ((await engine.RunAsync(["pull", "--quiet", containers._imageOf(service.Name)], ct)).ExitCode != 0)
                return (null, $"There is no image {containers._imageOf(service.Name)}: ./crm images --local-base makes it.");
        }

        return (containers, "");
    }

    /// <summary>A command line that runs the service; what comes after it are the program's own arguments.</summary>
    internal IReadOnlyList<string> CommandOf(string service, string secrets, string trustedKeys, IEnumerable<string> environment) =>
    [
        .. _engine.Command, "run", "--rm", "--label", _label, "--label", $"crm.service={service}", "--network", "host",
        "--read-only", "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=256m", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "512",
        // The files belong to whoever runs this; the container's user reads them by the group, as with fsGroup on a cluster.
        "--group-add", _group, "--volume", $"{secrets}:{Secrets}:ro", "--volume", $"{trustedKeys}:{TrustedKeys}:ro",
        // By name only: values would stand on the command line.
        .. environment.Where(n => n is not ("CRM_SECRETS" or "Auth__TrustedKeys")).SelectMany(n => new[] { "--env", n }),
        "--env", $"CRM_SECRETS={Secrets}", "--env", $"Auth__TrustedKeys={TrustedKeys}",
        _imageOf(service),
    ];

    /// <summary>Lets the group read what only the owner does.</summary>
    internal static void ShareSecrets(string folder)
    {
        foreach (var file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
            File.SetUnixFileMode(file, File.GetUnixFileMode(file) | UnixFileMode.GroupRead);
    }

    /// <summary>Looks at the containers that run, and at their images, for all that is promised of them.</summary>
    public async Task<ImageReport> CheckAsync(IReadOnlyCollection<string> services, CancellationToken ct = default)
    {
        var (images, problems) = (new List<ImageFacts>(), new List<string>());
        foreach (var id in (await _engine.RequireAsync(["ps", "--quiet", "--filter", "label=" + _label], ct)).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var container = JsonElement.Parse(await _engine.RequireAsync(["inspect", id], ct))[0];
            var service = container.GetProperty("Config").GetProperty("Labels").GetProperty("crm.service").GetString()!;
            var image = JsonElement.Parse(await _engine.RequireAsync(["image", "inspect", _imageOf(service)], ct))[0];
            images.Add(await LookAsync(service, id, container, image, problems, ct));
        }

        problems.AddRange(services.Except(images.Select(i => i.Service)).Select(s => $"{s}: no container of it runs."));
        return new(images, problems);
    }

    private async Task<ImageFacts> LookAsync(string service, string id, JsonElement container, JsonElement image, List<string> problems, CancellationToken ct)
    {
        var (asMade, asked) = (image.GetProperty("Config"), container.GetProperty("HostConfig"));
        Expect(asMade.GetProperty("User").GetString() == User, $"its image's user is not {User}");
        Expect(asked.GetProperty("ReadonlyRootfs").GetBoolean(), "its file system can be written to");

        // What the kernel says of the process, not what was asked for.
        var process = string.Create(CultureInfo.InvariantCulture, $"/proc/{container.GetProperty("State").GetProperty("Pid").GetInt32()}");
        var status = (await File.ReadAllLinesAsync(process + "/status", ct)).Select(l => l.Split(":\t", 2)).Where(f => f.Length == 2).ToDictionary(f => f[0], f => f[1]);
        Expect(status["Uid"].Split('\t').All(u => u == User), $"it runs as {status["Uid"]}");
        Expect(Capabilities.All(c => status[c].Trim('0').Length == 0), "it has capabilities");
        Expect(status["NoNewPrivs"] == "1", "it may gain privileges");
        var mounts = (await File.ReadAllLinesAsync(process + "/mounts", ct)).Select(l => l.Split(' ')).Where(m => m[1] is "/" or "/tmp").ToDictionary(m => m[1], m => m[3].Split(','));
        Expect(mounts["/"].Contains("ro"), "its root is mounted to be written to");
        Expect(mounts["/tmp"].Contains("noexec"), "what is in /tmp can be run");

        foreach (var shell in ProgramFolders.SelectMany(f => Shells.Select(s => $"/{f}/{s}")).Where(s => File.Exists($"{process}/root{s}")))
            Expect(false, $"it has {shell}");
        Expect((await _engine.RunAsync(["exec", id, "/bin/sh", "-c", "true"], ct)).ExitCode != 0, "a shell can be started in it");

        var ports = asMade.GetProperty("ExposedPorts").EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal).ToList();
        Expect(ports.SequenceEqual(service == "gateway" ? ["8080/tcp"] : ["8080/tcp", "8081/tcp"]), $"its ports are {string.Join(", ", ports)}");
        var labels = asMade.GetProperty("Labels").EnumerateObject().ToDictionary(l => l.Name, l => l.Value.GetString()!);
        foreach (var label in Labels.Where(l => string.IsNullOrEmpty(labels.GetValueOrDefault(l))))
            Expect(false, $"it lacks the label {label}");

        var (parts, missing) = await ReadSbomAsync(service, id, ct);
        Expect(parts > 0, "it has no list of parts in it (/app/sbom.cdx.json)");
        Expect(missing.Count == 0, $"its list of parts lacks {string.Join(", ", missing)}");
        return new(service, image.GetProperty("Size").GetInt64(), status["Uid"].Split('\t')[0], ports, labels.GetValueOrDefault("org.opencontainers.image.revision", ""), labels.Count, parts);

        void Expect(bool holds, string otherwise)
        {
            if (!holds)
                problems.Add($"{service}: {otherwise}.");
        }
    }

    /// <summary>The list of parts that is inside, against what the program inside says that it loads.</summary>
    private async Task<(int Parts, IReadOnlyList<string> Missing)> ReadSbomAsync(string service, string id, CancellationToken ct)
    {
        var folder = Directory.CreateTempSubdirectory("crm-image-").FullName;
        try
        {
            await _engine.RequireAsync(["cp", $"{id}:/app", folder], ct);
            var sbom = Path.Combine(folder, "app", "sbom.cdx.json");
            if (!File.Exists(sbom))
                return (0, []);
            var bom = JsonElement.Parse(await File.ReadAllTextAsync(sbom, ct));
            var listed = bom.GetProperty("components").EnumerateArray().Select(c => $"{c.GetProperty("name").GetString()}/{(c.TryGetProperty("version", out var version) ? version.GetString() : "")}").ToHashSet();
            var loaded = Directory.EnumerateFiles(Path.Combine(folder, "app"), "*.deps.json").SelectMany(f => JsonElement.Parse(File.ReadAllText(f)).GetProperty("libraries").EnumerateObject())
                .Where(l => l.Value.GetProperty("type").GetString() == "package").Select(l => l.Name);
            var named = bom.GetProperty("metadata").GetProperty("component").GetProperty("name").GetString() == "crm-" + service;
            return (listed.Count, [.. loaded.Where(l => !listed.Contains(l)), .. named ? Array.Empty<string>() : ["the image's own name"]]);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The program that started a container can be killed without it.</summary>
    internal async Task EndAsync()
    {
        var ids = (await _engine.RunAsync(["ps", "--all", "--quiet", "--filter", "label=" + _label])).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        if (ids.Length > 0)
            await _engine.RunAsync(["rm", "--force", .. ids]);
    }
}

/// <param name="Size">Bytes on disk, the base included.</param>
/// <param name="Parts">Entries of the list of parts inside.</param>
public sealed record ImageFacts(string Service, long Size, string User, IReadOnlyList<string> Ports, string Revision, int Labels, int Parts);

/// <param name="Problems">Whatever does not hold, as sentences.</param>
public sealed record ImageReport(IReadOnlyList<ImageFacts> Images, IReadOnlyList<string> Problems);
