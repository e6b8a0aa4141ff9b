using Crm.Testing;
using static Crm.Testing.JsonCalls;

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

    /// <summary>A campaign to the one of the batch who consents, until it is over.</summary>
    /// <param name="more">That the segment asks besides.</param>
    protected async Task<(string Campaign, string Segment)> SendAsync(string batch, string more = "")
    {
        var segment = await Eventually.GetAsync(
            () => Api.PostAsync("v1/segments", $$$"""{"name":"{{{batch}}}","definition":{"all":[{"fact":"attributes.batch","eq":"{{{batch}}}"},{"fact":"consent.email.marketing","eq":"granted"}{{{more}}}]}}""", Ct),
            s => (int?)s["count"] == 1, ct: Ct);
        var campaign = await OkAsync(Api.PostAsync("v1/campaigns",
            $$$$"""{"name":"{{{{batch}}}}","segment_id":"{{{{segment["id"]}}}}","channel":"email","template":{"subject":"Hello {{given_name}}","text":"Hello. {{unsubscribe_url}}"}}""", Ct));
        await OkAsync(Api.PostAsync($"v1/campaigns/{campaign["id"]}/launch", "{}", Ct));
        var results = await Eventually.GetAsync(() => Api.CallAsync($"v1/campaigns/{campaign["id"]}/results", Ct), r => r["completed_at"] is not null, ct: Ct);
        Assert.Equal(1, (int)results["sent"]!);
        return ((string)campaign["id"]!, (string)segment["id"]!);
    }
}
