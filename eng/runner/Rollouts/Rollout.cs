using System.Globalization;

namespace Crm.Runner.Rollouts;

/// <summary>
/// Two replicas of every service and of the gateway behind one address each, on shared databases and one broker; then every
/// replica replaced by one of another release, one after the other, as a rolling update of Kubernetes does it: the new one is
/// ready before the old one is told to stop, and the old one drains.
/// </summary>
internal sealed class Rollout : IAsyncDisposable
{
    private const int Replicas = 2;

    /// <summary>As k8s/base has it.</summary>
    private const int DrainSeconds = 5;

    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(45);

    private readonly Platform _platform;
    private readonly Action<string, string> _tell;
    private readonly Dictionary<string, ServiceAddress> _addresses = [];
    private readonly Dictionary<string, Queue<ServiceProcess>> _running = [];

    private Rollout(Platform platform, Action<string, string> tell)
    {
        _platform = platform;
        _tell = tell;
    }

    /// <summary>The servers, databases and the public address; its own services are the replicas.</summary>
    public Platform Platform => _platform;

    /// <summary>Starts the old release; <paramref name="next"/> is what it will be replaced by.</summary>
    public static async Task<Rollout> StartAsync(Topology old, Topology next, Action<string, string> tell, CancellationToken ct)
    {
        var platform = new Platform(new PlatformOptions
        {
            Topology = old,
            Folder = Reaper.TemporaryFolder("upgrade"),
            // What the next release has more gets its address now.
            Ports = PortMap.Free(next),
            EndWithCaller = true,
            Durable = false,
            Progress = tell,
        });
        var rollout = new Rollout(platform, tell);
        try
        {
            await platform.StartServersAsync(ct);
            var replicas = rollout.Describe(old, "old");
            await Task.WhenAll(replicas.Select(r => r.StartServicesAsync(ct)));
            foreach (var service in old.Services)
                await rollout.ServeAsync(service, replicas, ct);
            await platform.CreatePartnerKeyAsync(ct);
            return rollout;
        }
        catch
        {
            await rollout.DisposeAsync();
            throw;
        }
    }

    /// <summary>The new migrations, while the old programs run; then the replicas, with a pause after each service.</summary>
    /// <returns>What went wrong.</returns>
    public async Task<IReadOnlyList<string>> ReplaceAsync(Topology next, TimeSpan pause, CancellationToken ct)
    {
        var wrong = new List<string>();
        var replicas = Describe(next, "new");
        await replicas[0].CreateDatabasesAsync(ct);
        await replicas[0].WriteKeysAsync();
        await MigrateAsync(replicas[0], ct);
        _tell("rollout", "both releases on the new schemas");
        await Task.Delay(pause, ct);
        foreach (var service in next.Services)
        {
            if (!_addresses.TryGetValue(service.Name, out var address))
            {
                await Task.WhenAll(replicas.Select(r => r[service.Name].StartAsync(ct: ct)));
                await ServeAsync(service, replicas, ct);
                continue;
            }

            foreach (var replica in replicas.Select(r => r[service.Name]))
            {
                await replica.StartAsync(ct: ct);
                await address.AddAsync(replica, ct);
                _running[service.Name].Enqueue(replica);
                var old = _running[service.Name].Dequeue();
                var stopping = System.Diagnostics.Stopwatch.GetTimestamp();
                if (!await old.StopAsync(Grace))
                    wrong.Add($"{service.Name} did not end by itself within {Grace.TotalSeconds:0} s");
                address.Remove(old);
                _tell(service.Name, string.Create(CultureInfo.InvariantCulture, $"a replica replaced; the old one drained in {System.Diagnostics.Stopwatch.GetElapsedTime(stopping).TotalSeconds:0.0} s"));
            }

            await Task.Delay(pause, ct);
        }

        return wrong;
    }

    /// <summary>Ends all, and leaves the logs where those of the installation are.</summary>
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_running.Values.SelectMany(r => r).Select(r => r.KillAsync()));
        KeepLogs(new(Path.Combine(_platform.Folder, "logs")), new(Path.Combine(Installation.FolderOf(Topology.FindRoot()), "logs", "upgrade-drill")));
        foreach (var address in _addresses.Values)
            await address.DisposeAsync();
        await _platform.DisposeAsync();
    }

    private static void KeepLogs(DirectoryInfo logs, DirectoryInfo kept)
    {
        if (kept.Exists)
            kept.Delete(recursive: true);
        kept.Create();
        foreach (var log in logs.Exists ? logs.EnumerateFiles() : [])
            log.CopyTo(Path.Combine(kept.FullName, log.Name));
    }

    /// <summary>Again when it fails, as an init container of a pod is started again: a busy machine may have no answer in time.</summary>
    private async Task MigrateAsync(Platform replica, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                // Twelve programs serve beside it: on a cluster it would be another machine's.
                await replica.MigrateAsync(atOnce: 1, ct);
                return;
            }
            catch (RunnerException e) when (attempt < 3)
            {
                _tell("rollout", $"{e.Problem.Split('\n')[0]} They are tried again.");
            }
        }
    }

    private async Task ServeAsync(TopologyEntry service, IReadOnlyList<Platform> replicas, CancellationToken ct)
    {
        var ports = _platform.Ports;
        var address = _addresses[service.Name] = new(ports[service.Name, "http"], service.Bindings.Any(b => b.Name == "grpc") ? ports[service.Name, "grpc"] : null);
        _running[service.Name] = new(replicas.Select(r => r[service.Name]));
        foreach (var replica in replicas)
            await address.AddAsync(replica[service.Name], ct);
    }

    /// <summary>Each replica listens on ports of its own, and calls others by their addresses.</summary>
    private List<Platform> Describe(Topology topology, string release) => [.. Enumerable.Range(1, Replicas).Select(number => new Platform(new PlatformOptions
    {
        Topology = topology,
        Folder = _platform.Folder,
        Ports = PortMap.Free(topology),
        EndWithCaller = true,
        Durable = false,
        Replica = $"-{release}-{number}",
        ExternalPostgres = _platform.SuperuserConnectionString,
        ExternalRabbitMq = _platform.BusUri,
        Environment = topology.Services.SelectMany(e => topology.EnvironmentOf(e, _platform.Ports).Select(v => KeyValuePair.Create($"{e.Name}:{v.Key}", v.Value)))
            .Append(new("Shutdown__DrainSeconds", DrainSeconds.ToString(CultureInfo.InvariantCulture))).ToDictionary(),
        Progress = (service, what) => _tell(service, $"{what} ({release} {number})"),
    }))];
}
