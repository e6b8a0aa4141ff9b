using System.Collections.Concurrent;
using System.Net;
using Crm.Testing;

namespace Platform.Tests;

/// <summary>A database that takes connections and says nothing, or is gone.</summary>
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
            // A kubelet lets it live, and sends nobody there.
            using var kubelet = new HttpClient { BaseAddress = support.HttpAddress, Timeout = TimeSpan.FromSeconds(5) };
            using var startup = await kubelet.GetAsync("health/startup", Ct);
            Assert.Equal(HttpStatusCode.OK, startup.StatusCode);
            Assert.False((await support.ProbeAsync(Ct)).Ready);
        }
        finally
        {
            await postgres.ThawAsync();
        }

        await support.WaitUntilReadyAsync(ct: Ct);
        await Eventually.GetAsync(() => Api.GetAsync(new Uri("v1/cases?limit=1", UriKind.Relative), Ct), answer => answer.IsSuccessStatusCode, ct: Ct);
    }

    [Fact]
    public async Task While_the_database_is_killed_whatever_is_not_done_is_refused_so_that_it_is_sent_again()
    {
        var postgres = Fixture.Platform.Postgres!;
        var answers = new ConcurrentDictionary<string, int>(StringComparer.Ordinal);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        var customer = (await Api.PostAsync("v1/customers", Person("Away"), Ct))["id"]!;
        var held = (await Api.PostAsync("v1/cases", $$$"""{"customer_id":"{{{customer}}}","type":"question","subject":"Away"}""", Ct))["id"]!;
        var writers = Enumerable.Range(0, 12).Select(async n =>
        {
            while (!stop.IsCancellationRequested)
            {
                var answer = await ((n % 6) switch
                {
                    0 => PostAsync("v1/customers", Person($"Away{n}")),
                    1 => Api.PatchAsync($"v1/customers/{customer}", $$$"""{"attributes":{"w{{{n}}}":{{{Random.Shared.Next()}}}}}""", "*", Ct),
                    2 => PostAsync("v1/cases", $$$"""{"customer_id":"{{{customer}}}","type":"question","subject":"Away"}"""),
                    3 => PostAsync($"v1/cases/{held}/messages", """{"direction":"inbound","body":"Away"}"""),
                    4 => PostAsync("v1/interactions", $$$"""{"customer_id":"{{{customer}}}","channel":"call","direction":"inbound","started_at":"2026-01-01T00:00:00Z"}"""),
                    _ => PostAsync("v1/orders", $$$"""{"customer_id":"{{{customer}}}","placed_at":"2026-01-01T00:00:00Z","total":{"amount_minor":100,"currency":"EUR"},"status":"completed"}"""),
                });
                answers.AddOrUpdate($"{(int)answer.Status} {answer.Code}", 1, (_, count) => count + 1);
            }
        }).ToList();
        for (var kill = 0; kill < 6; kill++)
        {
            await Task.Delay(TimeSpan.FromSeconds(1.5), Ct);
            await postgres.KillAsync();
            await postgres.StartAgainAsync(Ct);
        }

        await stop.CancelAsync();
        await Task.WhenAll(writers);
        var other = answers.Keys.Except(["201 ", "200 ", "409 concurrent_change", "503 unavailable", "504 gateway_timeout"]).Select(a => $"{a} x{answers[a]}").ToList();
        Assert.True(other.Count == 0, $"{string.Join(", ", other)}\n{string.Join('\n', Fixture.Platform.Services.Values.Select(s => s.FirstFailure()))}");
        Assert.True(answers.GetValueOrDefault("503 unavailable") > 0, string.Join(", ", answers));
        await Eventually.GetAsync(() => Api.PostAsync("v1/customers", Person("Back"), Ct), answer => answer.Status == HttpStatusCode.Created, ct: Ct);
    }

    private Task<JsonAnswer> PostAsync(string path, string json) => Api.CallAsync(HttpMethod.Post, path, json, [("Idempotency-Key", Guid.NewGuid().ToString("N"))], Ct);

    private static string Person(string name) => $$$"""{"kind":"person","given_name":"{{{name}}}","source":{"type":"enquiry"}}""";
}
