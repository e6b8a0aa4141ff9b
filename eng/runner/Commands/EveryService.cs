namespace Crm.Runner.Commands;

/// <summary>One mode of the executable, run for each service of the platform that <c>./crm up</c> started.</summary>
internal static class EveryService
{
    /// <summary>Prints what each said under its name; how many were asked, and how many answered with an error.</summary>
    public static Task<(int Asked, int Failed)> RunModeAsync(string[] mode, CancellationToken ct) => RunModeAsync(_ => mode, ct);

    /// <param name="mode">By name of the service.</param>
    /// <param name="note">What is to be said besides of a service.</param>
    public static async Task<(int Asked, int Failed)> RunModeAsync(Func<string, string[]> mode, CancellationToken ct, Func<string, string?>? note = null)
    {
        var root = Topology.FindRoot();
        using var installation = Installation.Look(root);
        var platform = Running(root, installation);
        var failed = 0;
        foreach (var service in platform.Services.Values)
        {
            var result = await service.RunModeAsync(mode(service.Name), ct);
            Console.WriteLine($"{service.Name}:");
            foreach (var line in (result.Output.Trim() is { Length: > 0 } output ? output : "none").Split('\n'))
                Console.WriteLine($"  {line}");
            if (note?.Invoke(service.Name) is { } more)
                Console.WriteLine($"  {more}");
            failed += result.ExitCode == 0 ? 0 : 1;
        }

        return (platform.Services.Count, failed);
    }

    /// <exception cref="RunnerException">Nothing was started.</exception>
    public static Platform Running(string root, Installation installation)
    {
        if (installation.Ports is not { } ports)
            throw new RunnerException("Nothing runs here.", "Run ./crm up first.");

        var platform = new Platform(new PlatformOptions { Topology = Topology.Load(root), Folder = installation.Folder, Ports = ports });
        platform.RequireBuilt();
        return platform;
    }
}
