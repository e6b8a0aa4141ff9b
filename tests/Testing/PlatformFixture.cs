using Crm.Runner;
using Xunit;

namespace Crm.Testing;

/// <summary>
/// The whole platform as real processes, once for all tests that share the fixture:
/// <c>[assembly: AssemblyFixture(typeof(PlatformFixture))]</c>, and a constructor parameter in the test class.
/// </summary>
public class PlatformFixture : IAsyncLifetime
{
    /// <summary>An overview waits longer for each part than a busy machine makes any answer wait.</summary>
    private static readonly (string Name, string Value) Patience = ("gateway:Gateway__OverviewDeadline", "00:00:05");

    private Platform? _platform;

    public Platform Platform => _platform ?? throw new InvalidOperationException("The platform is not started.");

    /// <summary>More environment for the services, such as an OTLP receiver's address; see <see cref="PlatformOptions.Environment"/>.</summary>
    protected virtual IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>();

    /// <summary>The services to start; null is all.</summary>
    protected virtual IReadOnlyCollection<string>? Only => null;

    /// <summary>Where its PostgreSQL and RabbitMQ come from.</summary>
    protected virtual Task<IServers> ServersAsync() => TestServers.GetAsync();

    public virtual async ValueTask InitializeAsync() => _platform = await Platform.StartAsync(
        "platform", new Dictionary<string, string>(Environment) { [Patience.Name] = Patience.Value }, Only, (name, text) => TestContext.Current.SendDiagnosticMessage("{0}: {1}", name, text), servers: await ServersAsync(), ct: TestContext.Current.CancellationToken);

    public virtual async ValueTask DisposeAsync()
    {
        if (_platform is not null)
            await _platform.DisposeAsync();
        GC.SuppressFinalize(this);
    }
}
