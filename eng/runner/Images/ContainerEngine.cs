using System.Diagnostics;
using System.Globalization;

namespace Crm.Runner.Images;

/// <summary>
/// A Docker engine and a registry of this installation's own, on a socket and a loopback port, with their data under .run/;
/// ./crm down stops them. Containers use the host's network: no bridge is made and no packet filter is touched.
/// </summary>
internal sealed class ContainerEngine
{
    private const string Engine = "dockerd", Registry = "docker-registry";

    /// <summary>A path of a Unix socket has 107 bytes at most (unix(7)), and containerd's is a longer one beside the engine's.</summary>
    private const int LongestPath = 107;

    private readonly string _folder;

    private ContainerEngine(string folder, string registry) => (_folder, RegistryHost) = (folder, registry);

    public Uri Address => new($"unix://{Socket}");

    public string Socket => Path.Combine(_folder, "engine.sock");

    /// <summary>Such as localhost:56500. The name, because .NET's SDK and Docker both speak HTTP to a registry of that name.</summary>
    public string RegistryHost { get; }

    /// <summary>The one that runs; null when none does.</summary>
    public static ContainerEngine? Find(Installation installation) =>
        installation.IsRunning(Engine) && installation.IsRunning(Registry) ? Of(installation) : null;

    /// <exception cref="RunnerException">It cannot run here: not root, or the kernel does not let it.</exception>
    public static async Task<ContainerEngine> StartAsync(Installation installation, Action<string, string> progress, CancellationToken ct)
    {
        var engine = Of(installation);
        if (Environment.UserName != "root")
            throw new RunnerException("A Docker engine of its own needs root.", "Run this as root, or use a base image that can be pulled: ./crm images --base IMAGE");
        if (Path.Combine(engine._folder, "exec", "containerd", "containerd.sock.ttrpc").Length > LongestPath)
            throw new RunnerException($"{engine._folder} is too long a path for a socket.", "Clone into a shorter one.");
        Directory.CreateDirectory(engine._folder);
        if (!installation.IsRunning(Engine))
        {
            progress("engine", "starting a private Docker engine in " + engine._folder);
            installation.Record(OwnedProcess.Start(new ProcessSpec
            {
                Name = Engine,
                Command =
                [
                    Engine, "--host", $"unix://{engine.Socket}", "--data-root", Path.Combine(engine._folder, "data"), "--exec-root", Path.Combine(engine._folder, "exec"),
                    "--pidfile", Path.Combine(engine._folder, "engine.pid"), "--bridge=none", "--iptables=false", "--ip6tables=false",
                ],
                LogFile = installation.LogFile(Engine),
                Environment = installation.MarkOf(Engine),
            }));
        }

        if (!installation.IsRunning(Registry))
        {
            var configuration = Path.Combine(engine._folder, "registry.yml");
            await File.WriteAllTextAsync(configuration, $"""
                version: 0.1
                storage:
                  filesystem:
                    rootdirectory: "{Path.Combine(engine._folder, "registry")}"
                  delete:
                    enabled: true
                http:
                  addr: 127.0.0.1:{Port()}
                """ + "\n", ct);
            installation.Record(OwnedProcess.Start(new ProcessSpec
            {
                Name = Registry,
                Command = [Registry, "serve", configuration],
                LogFile = installation.LogFile(Registry),
                Environment = installation.MarkOf(Registry),
            }));
        }

        var start = Stopwatch.GetTimestamp();
        while ((await engine.RunAsync(["version", "--format", "{{.Server.Version}}"], ct)).ExitCode != 0 || !PortOwner.IsListening(Port()))
        {
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(60) || !installation.IsRunning(Engine) || !installation.IsRunning(Registry))
                throw new RunnerException($"The Docker engine or its registry does not start:\n{installation.Running[Engine].LogTail(8)}\n{installation.Running[Registry].LogTail(3)}", $"The logs are {installation.LogFile(Engine)} and {installation.LogFile(Registry)}.");
            await Task.Delay(200, ct);
        }

        return engine;
    }

    /// <summary>The docker program against this engine.</summary>
    public Task<ShellResult> RunAsync(IReadOnlyList<string> arguments, CancellationToken ct = default) => Shell.RunAsync([.. Command, .. arguments], ct: ct);

    /// <exception cref="RunnerException">It ended with an error.</exception>
    public async Task<string> RequireAsync(IReadOnlyList<string> arguments, CancellationToken ct = default)
    {
        var result = await RunAsync(arguments, ct);
        return result.ExitCode == 0 ? result.Output.Trim() : throw new RunnerException($"docker {string.Join(' ', arguments)} failed:\n{result.Output}", "");
    }

    public IReadOnlyList<string> Command => ["docker", "--host", Address.OriginalString];

    private static ContainerEngine Of(Installation installation) => new(Path.Combine(installation.Folder, "containers"), $"localhost:{Port()}");

    private static int Port() =>
        int.TryParse(Environment.GetEnvironmentVariable("CRM_PORT_REGISTRY"), CultureInfo.InvariantCulture, out var port) ? port : 56500;
}
