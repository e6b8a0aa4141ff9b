namespace Crm.Runner.Commands;

/// <summary>PostgreSQL and RabbitMQ of the platform that ./crm up keeps here: what runs is taken over, what does not is started.</summary>
internal static class InstalledServers
{
    private static readonly string[] RabbitMqProcesses = ["rabbitmq", "rabbitmq-epmd"];

    public static async Task StartPostgresAsync(Platform platform, Installation installation, Action<string, string> progress, CancellationToken ct)
    {
        if (platform.HasExternalPostgres)
        {
            progress("postgres", "the one that CRM_POSTGRES names");
            return;
        }

        if (!installation.IsRunning("postgres"))
            progress("postgres", "starting a private one in " + PrivatePostgres.ReachableFolder(Path.Combine(installation.Folder, "postgres")));
        await platform.StartPostgresAsync(ct);
    }

    public static async Task StartRabbitMqAsync(Platform platform, Installation installation, Action<string, string> progress, CancellationToken ct)
    {
        if (platform.HasExternalRabbitMq)
        {
            progress("rabbitmq", "the one that CRM_RABBITMQ names");
            return;
        }

        if (RabbitMqProcesses.All(installation.IsRunning))
        {
            platform.RabbitMq = PrivateRabbitMq.TakeOver(
                await platform.RabbitMqOptionsAsync(), installation.Running["rabbitmq"], installation.Running["rabbitmq-epmd"]);
            await platform.RabbitMq.WaitUntilAnsweringAsync(ct);
            return;
        }

        progress("rabbitmq", "starting a private one in " + Path.Combine(installation.Folder, "rabbitmq"));
        // A node without its mapper, or the other way round, is the rest of a broken start.
        foreach (var rest in RabbitMqProcesses.Where(installation.IsRunning))
            await installation.Running[rest].KillAsync();
        await platform.StartRabbitMqAsync(ct);
    }

    /// <summary>The platform of the last ./crm up, on the ports it had then, with its servers.</summary>
    /// <exception cref="RunnerException">Nothing was started here, or it is not built.</exception>
    public static async Task<Platform> OpenAsync(string root, Installation installation, Action<string, string> progress, CancellationToken ct)
    {
        var topology = Topology.Load(root);
        var platform = new Platform(new PlatformOptions
        {
            Topology = topology,
            Folder = installation.Folder,
            Ports = installation.Ports ?? PortMap.FromEnvironment(topology),
            ExternalPostgres = Environment.GetEnvironmentVariable("CRM_POSTGRES") is { Length: > 0 } postgres ? postgres : null,
            ExternalRabbitMq = Environment.GetEnvironmentVariable("CRM_RABBITMQ") is { Length: > 0 } rabbit ? rabbit : null,
            Installation = installation,
            Progress = progress,
        });
        await StartPostgresAsync(platform, installation, progress, ct);
        await StartRabbitMqAsync(platform, installation, progress, ct);
        return platform;
    }
}
