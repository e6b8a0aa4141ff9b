namespace Crm.Runner.Commands;

internal static class StatusCommand
{
    /// <returns>0 when everything is ready, else 1.</returns>
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var root = Topology.FindRoot();
        var topology = Topology.Load(root);
        using var installation = Installation.Look(root);
        if (installation.Ports is not { } ports)
        {
            Console.WriteLine("Nothing runs: ./crm up was not run here.");
            return 1;
        }

        var platform = new Platform(new PlatformOptions { Topology = topology, Folder = installation.Folder, Ports = ports });
        var complete = true;
        foreach (var entry in topology.Entries)
        {
            if (installation.External.Contains(entry.Name))
            {
                Console.WriteLine($"  {entry.Name,-14} an existing server, as given at the start");
                continue;
            }

            var state = "not running";
            if (installation.IsRunning(entry.Name))
                state = entry.IsService ? await ReadinessAsync(platform[entry.Name], ct) : "running";
            complete &= state is "ready" or "running";
            var where = string.Join(", ", entry.Bindings.Select(b => $"{b.Name} {ports[entry.Name, b.Name]}"));
            var process = installation.IsRunning(entry.Name) ? $"process {installation.Running[entry.Name].Pid}" : "";
            Console.WriteLine($"  {entry.Name,-14} {state,-14} {where,-22} {process}");
        }

        return complete ? 0 : 1;
    }

    private static async Task<string> ReadinessAsync(ServiceProcess service, CancellationToken ct)
    {
        var (ready, answer) = await service.ProbeAsync(ct);
        return ready ? "ready" : $"not ready ({answer})";
    }
}
