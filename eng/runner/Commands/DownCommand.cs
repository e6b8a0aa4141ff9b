namespace Crm.Runner.Commands;

/// <summary>Stops what ./crm up started and nothing else: services, then mail catcher and broker, then the database.</summary>
internal static class DownCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var purge = args.Contains("--purge");
        if (args.Except(["--purge"]).Any())
            throw new RunnerException($"down does not know '{args.Except(["--purge"]).First()}'.", "Only --purge, which removes the data.");

        var root = Topology.FindRoot();
        var topology = Topology.Load(root);
        using var installation = Installation.Open(root);
        if (installation.Running.Count == 0)
            Console.WriteLine("Nothing of ./crm up is running.");

        await StopServicesAsync(installation, topology);
        await StopAsync(installation, "smtp", p => p.StopAsync(TimeSpan.FromSeconds(10)));
        await StopAsync(installation, "rabbitmq", p => p.StopAsync(TimeSpan.FromSeconds(30)));
        // The port mapper has no data, and no answer to SIGTERM of its own.
        await StopAsync(installation, "rabbitmq-epmd", p => p.StopAsync(TimeSpan.FromSeconds(5)));
        await StopAsync(installation, "postgres", PrivatePostgres.StopAsync);
        foreach (var rest in installation.Running.Keys.ToList())
            await StopAsync(installation, rest, p => p.StopAsync(TimeSpan.FromSeconds(10)));

        if (purge)
        {
            var postgres = PrivatePostgres.ReachableFolder(Path.Combine(installation.Folder, "postgres"));
            if (Directory.Exists(postgres))
                Directory.Delete(postgres, recursive: true);
            if (!postgres.StartsWith(installation.Folder, StringComparison.Ordinal) && Path.GetDirectoryName(postgres) is { } own && Directory.Exists(own))
                Directory.Delete(own);
            Directory.Delete(installation.Folder, recursive: true);
            Console.WriteLine($"Removed {installation.Folder}.");
        }
        else
        {
            Console.WriteLine($"Stopped. The data stay in {installation.Folder}; ./crm down --purge removes them.");
        }

        return 0;
    }

    public static Task StopServicesAsync(Installation installation, Topology topology) =>
        Task.WhenAll(topology.Services.Select(s => StopAsync(installation, s.Name, p => p.StopAsync(TimeSpan.FromSeconds(35)))));

    private static async Task StopAsync(Installation installation, string name, Func<OwnedProcess, Task<bool>> stop)
    {
        if (!installation.Running.TryGetValue(name, out var process))
            return;
        if (process.IsAlive)
            Console.WriteLine(await stop(process) ? $"  {name} stopped" : $"  {name} did not stop in time and was killed");
        installation.Forget(name);
    }
}
