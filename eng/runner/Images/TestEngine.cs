namespace Crm.Runner.Images;

/// <summary>The engine on which the servers of tests run when CRM_TEST_SERVERS=containers, and the images that it runs.</summary>
/// <param name="ApiVersion">The newest that it speaks.</param>
internal sealed record TestEngine(Uri Address, Version ApiVersion, string Postgres, string RabbitMq)
{
    public const string Switch = "CRM_TEST_SERVERS";

    /// <summary>Images that can be pulled; they take the variables and arguments that those of ./crm images --servers take.</summary>
    private const string PublicPostgres = "postgres:15-bookworm", PublicRabbitMq = "rabbitmq:3.13";

    /// <summary>The engine of this clone when it runs; else the one that DOCKER_HOST names, or the system's.</summary>
    /// <exception cref="RunnerException">None answers, or this clone's has no images.</exception>
    public static async Task<TestEngine> FindAsync(string root)
    {
        using var installation = Installation.Look(root);
        if (ContainerEngine.Find(installation) is { } own)
        {
            foreach (var image in ServerImages.All)
            {
                if (!await image.IsThereAsync(own))
                    throw Missing($"the engine of this clone has no image {image.Name}");
            }

            return new(own.Address, await AskForVersionAsync(own.Address), ServerImages.Postgres.Name, ServerImages.RabbitMq.Name);
        }

        var address = new Uri(Setting("DOCKER_HOST") ?? "unix:///var/run/docker.sock");
        return new(address, await AskForVersionAsync(address), Setting("CRM_TEST_POSTGRES_IMAGE") ?? PublicPostgres, Setting("CRM_TEST_RABBITMQ_IMAGE") ?? PublicRabbitMq);
    }

    private static async Task<Version> AskForVersionAsync(Uri address)
    {
        // By a shell, which says so when there is no such program.
        var answer = await Shell.RunAsync(["sh", "-c", "exec docker --host \"$1\" version --format '{{.Server.APIVersion}}'", "sh", address.OriginalString]);
        return answer.ExitCode == 0 && Version.TryParse(answer.Output.Trim(), out var version)
            ? version
            : throw Missing($"no Docker engine answers at {address.OriginalString} ({answer.Output.Trim()})");
    }

    private static RunnerException Missing(string what) => new(
        $"{Switch}=containers, but {what}.",
        $"./crm images --servers --local-base installs an engine, starts it for this clone and makes the images. Or start Docker, or name its address in DOCKER_HOST. Without {Switch}, tests need none.");

    private static string? Setting(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
