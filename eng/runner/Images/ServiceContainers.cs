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
    private const string Secrets = "/run/secrets/crm", TrustedKeys = "/run/secrets/trusted-keys";

    private static readonly string[] Capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    private static readonly string[] Shells = ["/bin/sh", "/bin/bash", "/usr/bin/sh", "/bin/busybox"];

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

    /// <summary>Whatever does not hold of the running containers, as sentences.</summary>
    public async Task<IReadOnlyList<string>> CheckHardeningAsync(IReadOnlyCollection<string> services, CancellationToken ct = default)
    {
        var problems = new List<string>();
        var seen = new HashSet<string>();
        foreach (var id in (await _engine.RequireAsync(["ps", "--quiet", "--filter", "label=" + _label], ct)).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var container = JsonElement.Parse(await _engine.RequireAsync(["inspect", id], ct))[0];
            var service = container.GetProperty("Config").GetProperty("Labels").GetProperty("crm.service").GetString()!;
            seen.Add(service);
            Expect(service, container.GetProperty("Config").GetProperty("User").GetString() == "10001", "its image's user is not 10001");
            Expect(service, container.GetProperty("HostConfig").GetProperty("ReadonlyRootfs").GetBoolean(), "its file system can be written to");
            // What the kernel says of the process, not what was asked for.
            var pid = container.GetProperty("State").GetProperty("Pid").GetInt32();
            var status = (await File.ReadAllLinesAsync(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/status"), ct)).Select(l => l.Split(":\t", 2)).Where(f => f.Length == 2).ToDictionary(f => f[0], f => f[1]);
            Expect(service, status["Uid"].Split('\t').All(u => u == "10001"), $"it runs as {status["Uid"]}");
            Expect(service, Capabilities.All(c => status[c].Trim('0').Length == 0), "it has capabilities");
            Expect(service, status["NoNewPrivs"] == "1", "it may gain privileges");
            foreach (var shell in Shells)
            {
                // 127: there is no such program.
                var tried = await _engine.RunAsync(["run", "--rm", "--network", "none", "--entrypoint", shell, _imageOf(service), "-c", "true"], ct);
                Expect(service, tried.ExitCode == 127, $"it has {shell}");
            }
        }

        problems.AddRange(services.Except(seen).Select(s => $"{s}: no container of it runs."));
        return problems;

        void Expect(string service, bool holds, string otherwise)
        {
            if (!holds)
                problems.Add($"{service}: {otherwise}.");
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
