namespace Platform.Tests;

/// <summary>A test of the whole platform through the public door, with the partner's key.</summary>
[Collection(TracedPlatform.Collection)]
public abstract class PlatformTest(TracedPlatform fixture) : IDisposable
{
    private readonly Lazy<HttpClient> _api = new(() => fixture.Platform.CreateClient());

    protected TracedPlatform Fixture => fixture;

    protected HttpClient Api => _api.Value;

    protected static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        if (_api.IsValueCreated)
        {
            _api.Value.Dispose();
        }

        GC.SuppressFinalize(this);
    }
}
