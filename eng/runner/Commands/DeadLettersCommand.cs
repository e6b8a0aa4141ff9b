namespace Crm.Runner.Commands;

/// <summary>Asks every service for its dead letters, or has them tried again.</summary>
internal static class DeadLettersCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        if (args is [])
            args = ["list"];
        if (args is not (["list"] or ["replay", _]))
            throw new RunnerException($"dead-letters does not know '{string.Join(' ', args)}'.", "Write: ./crm dead-letters list, or replay <id>, or replay all.");

        var root = Topology.FindRoot();
        using var installation = Installation.Look(root);
        if (installation.Ports is not { } ports)
            throw new RunnerException("Nothing runs here.", "Run ./crm up first.");

        var platform = new Platform(new PlatformOptions { Topology = Topology.Load(root), Folder = installation.Folder, Ports = ports });
        platform.RequireBuilt();
        var failed = 0;
        foreach (var service in platform.Services.Values)
        {
            var result = await service.RunModeAsync(["--dead-letters", .. args], ct);
            Console.WriteLine($"{service.Name}:");
            foreach (var line in (result.Output.Trim() is { Length: > 0 } output ? output : "none").Split('\n'))
                Console.WriteLine($"  {line}");
            failed += result.ExitCode == 0 ? 0 : 1;
        }

        // An id belongs to one service; the others say that they do not have it.
        return args is ["replay", not "all"] ? (failed < platform.Services.Count ? 0 : 1) : (failed == 0 ? 0 : 1);
    }
}
