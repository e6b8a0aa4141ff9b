using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Crm.Runner.Cdnow;

/// <summary>What a load under faults came to.</summary>
/// <param name="Drain">How long events were still under way when nothing was written any more.</param>
/// <param name="Customers">The log's customers, to tell them from others.</param>
public sealed record CdnowReport(long Rows, long Repeated, TimeSpan Load, TimeSpan Drain, JsonElement Campaign, int Mails, Guid[] Customers, Findings Findings);

/// <summary>
/// The load, then the campaign, then the unsubscribe links of its mails, while parts of the platform are ended by kill -9;
/// afterwards everything must be as if nothing had happened.
/// </summary>
public sealed class CdnowFaults(Platform platform, HttpClient client, IReadOnlyList<CdnowCustomer> customers, CdnowCheck check, Faults faults, Action<string> tell)
{
    private static readonly TimeSpan Down = TimeSpan.FromMilliseconds(200);

    private readonly Findings _findings = new();
    private TimeSpan _loaded;
    private (long Rows, long Repeated) _calls;
    private JsonElement _campaign;
    private int _mails;
    private int _people;

    /// <summary>Writes everything. Others may write beside it, and faults be injected.</summary>
    /// <param name="patience">How long Campaigns may take to have what was loaded.</param>
    /// <param name="beside">What goes on beside the load, and has ended before the campaign.</param>
    public async Task LiveAsync(int concurrency, TimeSpan patience, Func<Task> beside, CancellationToken ct = default)
    {
        var load = new CdnowLoad(client, concurrency);
        var start = Stopwatch.GetTimestamp();
        await Task.WhenAll(load.RunAsync(customers, ct: ct), beside());
        (_loaded, _calls) = (Stopwatch.GetElapsedTime(start), (load.Rows, load.Repeated));
        tell(string.Create(CultureInfo.InvariantCulture, $"the CDNOW log is loaded after {_loaded.TotalSeconds:0} s"));

        var segment = await check.MakeSegmentAsync(patience, _findings, ct);
        var campaign = await check.LaunchCampaignAsync(segment, ct);
        await KillAsync("campaigns", "campaigns", "campaigns");
        _campaign = await check.WaitForCampaignAsync(campaign, TimeSpan.FromMinutes(10), ct);
        var mails = platform.Mail!.Mails;
        var recipients = mails.SelectMany(m => m.Recipients).ToList();
        check.CompareMails(_campaign, recipients, strict: false, _findings);
        (_mails, _people) = (mails.Count, recipients.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        tell($"{_mails} mails of the campaign are delivered");

        var pressing = check.PressLinksAsync(mails, ct);
        await KillAsync("campaigns", "contacts");
        await pressing;
        tell("everybody has unsubscribed");

        async Task KillAsync(params string[] services)
        {
            foreach (var service in services)
            {
                await Task.Delay(300, ct);
                await faults.InjectAsync(service, Down);
            }
        }
    }

    /// <summary>When nobody writes any more and nothing is killed.</summary>
    public async Task<CdnowReport> CompareAsync(CancellationToken ct = default)
    {
        await platform.StartServicesAsync(ct);
        var start = Stopwatch.GetTimestamp();
        try
        {
            await check.DrainAsync(TimeSpan.FromMinutes(5), ct);
        }
        catch (RunnerException e)
        {
            _findings.AddDifference(e.Problem);
        }

        var drained = Stopwatch.GetElapsedTime(start);
        tell(string.Create(CultureInfo.InvariantCulture, $"drained in {drained.TotalSeconds:0.0} s"));
        await check.CompareAsync(_findings, ct);
        await check.CompareWithdrawalsAsync(_people, _findings, ct);
        return new(_calls.Rows, _calls.Repeated, _loaded, drained, _campaign, _mails, check.Ids, _findings);
    }
}
