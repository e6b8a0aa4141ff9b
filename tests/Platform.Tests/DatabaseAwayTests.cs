using Crm.Testing;

namespace Platform.Tests;

/// <summary>A database that takes connections and says nothing.</summary>
public sealed class DatabaseAwayTests(TracedPlatform fixture) : PlatformTest(fixture)
{
    [Fact]
    public async Task A_service_that_starts_while_its_database_does_not_answer_waits_for_it()
    {
        var (support, postgres) = (Fixture.Platform["support"], Fixture.Platform.Postgres!.Process);
        await support.KillAsync();
        await postgres.FreezeAsync();
        try
        {
            support.Start();
            // Longer than a connection may take (5 s), so that whatever asks the database at the start has failed.
            await Task.Delay(TimeSpan.FromSeconds(12), Ct);
            Assert.True(support.IsRunning, support.Process!.LogTail());
        }
        finally
        {
            await postgres.ThawAsync();
        }

        await support.WaitUntilReadyAsync(ct: Ct);
        await Eventually.GetAsync(() => Api.GetAsync(new Uri("v1/cases?limit=1", UriKind.Relative), Ct), answer => answer.IsSuccessStatusCode, ct: Ct);
    }
}
