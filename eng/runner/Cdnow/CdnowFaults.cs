using System.Globalization;
using System.Text.Json;

namespace Crm.Runner.Cdnow;

/// <summary>What a load under faults came to.</summary>
public sealed record CdnowReport(
    int Customers, long Rows, long Repeated, TimeSpan Load, TimeSpan Drain, IReadOnlyList<string> Faults, JsonElement Campaign, int Mails, IReadOnlyList<string> Differences);

/// <summary>
/// The load, then the campaign, then the unsubscribe links of its mails, while processes are ended by kill -9 and started
/// again: each service, the gateway, the broker, and the broker's connections; afterwards everything must be as if nothing
/// had happened.
/// </summary>
public sealed class CdnowFaults(Platform platform, IReadOnlyList<CdnowCustomer> customers, Action<string> tell)
{
    private readonly List<string> _faults = [];

    /// <param name="rounds">How often each part is killed during the load.</param>
    /// <param name="pause">Between two kills; the part is down for a third of it.</param>
    /// <param name="withDatabase">Whether PostgreSQL is killed too.</param>
    public async Task<CdnowReport> RunAsync(int rounds, TimeSpan pause, bool withDatabase, CancellationToken ct = default)
    {
        using var client = platform.CreateClient();
        var load = new CdnowLoad(client);
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        var loading = load.RunAsync(customers, ct: ct);
        await Task.WhenAll(loading, FaultsAsync(rounds, pause, withDatabase, ct));
        var loaded = System.Diagnostics.Stopwatch.GetElapsedTime(start);
        await platform.StartServicesAsync(ct);

        start = System.Diagnostics.Stopwatch.GetTimestamp();
        var check = new CdnowCheck(platform, client, customers);
        await check.DrainAsync(TimeSpan.FromMinutes(5), ct);
        var drained = System.Diagnostics.Stopwatch.GetElapsedTime(start);
        tell(string.Create(CultureInfo.InvariantCulture, $"loaded in {loaded.TotalSeconds:0} s, drained in {drained.TotalSeconds:0.0} s"));
        var differences = new List<string>(await check.CompareAsync(ct));

        var segment = await check.CompareSegmentAsync(differences, ct);
        var campaign = await check.LaunchCampaignAsync(segment, ct);
        for (var i = 0; i < 3; i++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(300), ct);
            await KillServiceAsync("campaigns", TimeSpan.FromMilliseconds(200), ct);
        }

        var results = await check.WaitForCampaignAsync(campaign, TimeSpan.FromMinutes(5), ct);
        var mails = platform.Mail!.Mails;
        check.CompareMails(results, [.. mails.SelectMany(m => m.Recipients)], strict: false, differences);

        var pressing = check.PressLinksAsync(mails, ct);
        foreach (var service in (string[])["campaigns", "contacts"])
        {
            await Task.Delay(TimeSpan.FromMilliseconds(300), ct);
            await KillServiceAsync(service, TimeSpan.FromMilliseconds(200), ct);
        }

        await pressing;
        await check.DrainAsync(TimeSpan.FromMinutes(2), ct);
        await check.CompareWithdrawalsAsync(mails.Count, differences, ct);
        return new(customers.Count, load.Rows, load.Repeated, loaded, drained, _faults, results, mails.Count, differences);
    }

    private async Task FaultsAsync(int rounds, TimeSpan pause, bool withDatabase, CancellationToken ct)
    {
        for (var round = 0; round < rounds; round++)
        {
            foreach (var service in platform.Services.Keys)
            {
                await Task.Delay(pause, ct);
                await KillServiceAsync(service, pause / 3, ct);
            }

            await Task.Delay(pause, ct);
            Tell("connections to the broker cut");
            await platform.RabbitMq!.CloseConnectionsAsync(ct);

            await Task.Delay(pause, ct);
            Tell("kill -9 rabbitmq");
            await platform.RabbitMq.KillAsync();
            await Task.Delay(pause / 3, ct);
            await platform.RabbitMq.StartAgainAsync(ct);
            if (withDatabase)
            {
                await Task.Delay(pause, ct);
                Tell("kill -9 postgres");
                await platform.Postgres!.KillAsync();
                await Task.Delay(pause / 3, ct);
                await platform.Postgres.StartAgainAsync(ct);
            }
        }
    }

    private async Task KillServiceAsync(string service, TimeSpan down, CancellationToken ct)
    {
        Tell($"kill -9 {service}");
        await platform[service].KillAsync();
        await Task.Delay(down, ct);
        await platform[service].StartAsync(ct: ct);
    }

    private void Tell(string fault)
    {
        _faults.Add(fault);
        tell(fault);
    }
}
