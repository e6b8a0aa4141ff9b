using Crm.Runner;
using Crm.Runner.Images;
using Crm.Testing.Containers;

namespace Crm.Testing;

/// <summary>Where the PostgreSQL and the RabbitMQ of tests come from: CRM_TEST_SERVERS=local (processes, the default) or containers.</summary>
public static class TestServers
{
    private static readonly Lazy<Task<IServers>> Chosen = new(() => ChooseAsync(Environment.GetEnvironmentVariable(TestEngine.Switch)));

    /// <exception cref="RunnerException">Containers are asked for, and what they need is not here.</exception>
    public static Task<IServers> GetAsync() => Chosen.Value;

    public static async Task<IServers> ChooseAsync(string? value) => value switch
    {
        null or "" or "local" => new LocalServers(),
        "containers" => new ContainerServers(await TestEngine.FindAsync(Topology.FindRoot())),
        _ => throw new RunnerException($"{TestEngine.Switch}={value} is not known.", "It is local or containers."),
    };
}
