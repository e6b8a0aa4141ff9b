using System.Diagnostics;
using System.Globalization;
using Crm.Runner.Cdnow;
using Crm.Runner.Histories;

namespace Crm.Runner.Commands;

/// <summary>
/// A platform of its own under mixed load for 20 minutes (<c>--minutes</c>): random histories with merges and undos, and beside
/// them the CDNOW log, a campaign and its unsubscribe links, while a random part of it is ended by kill -9 every few seconds;
/// and a report. Exit code 1 when anything was lost, doubled or differs. With <c>--without inbox</c> or <c>--without outbox</c>, a
/// short load with that guarantee taken away: exit code 1 when no doubles, or no losses, are found.
/// </summary>
internal static class ChaosCommand
{
    private const int Loaders = 4;
    private const int HistoriesAtOnce = 6;
    private const int MostSentences = 100;

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (customers, minutes, without) = Read(args);
        var root = Topology.FindRoot();
        var shared = Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder ? folder : Path.Combine(root, "..", "shared");
        var log = CdnowData.Read(Path.GetFullPath(shared, root), customers ?? (without is null ? null : 200));
        var progress = new Progress();
        await Build.Programs(Topology.Load(root)).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("chaos", progress: progress.Step, ct: ct);
        using var client = platform.CreateClient();
        var faults = new Faults(platform, withServers: true, text => progress.Step("chaos", text));
        var cdnow = new CdnowFaults(platform, client, log, new CdnowCheck(platform, new ApiClient(client), log), faults, text => progress.Step("chaos", text));
        var found = without is null
            ? await MixAsync(platform, client, cdnow, faults, TimeSpan.FromMinutes(minutes), log.Count, ct)
            : await SabotageAsync(platform, cdnow, faults, without, log.Count, ct);
        // The logs go with the platform.
        foreach (var failure in platform.Services.Values.Select(s => s.FirstFailure()).Where(f => f.Length > 0))
            Console.WriteLine($"  {failure}");
        return found ? 0 : 1;
    }

    /// <returns>Whether all is as it must be.</returns>
    private static async Task<bool> MixAsync(Platform platform, HttpClient client, CdnowFaults cdnow, Faults faults, TimeSpan time, int customers, CancellationToken ct)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var start = Stopwatch.GetTimestamp();
        var killing = faults.RunAsync(TimeSpan.FromSeconds(5), stop.Token);
        var loading = cdnow.LiveAsync(Loaders, TimeSpan.FromMinutes(3), () => Task.CompletedTask, ct);
        var lived = await HistoryLoad.LiveAsync(
            platform, new ApiClient(client), HistoriesAtOnce, () => !loading.IsCompleted || Stopwatch.GetElapsedTime(start) < time, ct);
        var failure = await FailureOfAsync(loading);
        await stop.CancelAsync();
        await killing;
        var took = Stopwatch.GetElapsedTime(start);

        var report = await cdnow.CompareAsync(ct);
        if (failure is not null)
            report.Findings.AddDifference(failure);
        var histories = new Findings();
        histories.AddDifferences(lived.Differences);
        await using var check = await HistoryCheck.OpenAsync(platform);
        await check.CompareAllAsync(lived.Recorded, report.Customers, histories, ct);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            mixed load           {took.TotalMinutes:0.0} minutes
            CDNOW                {customers:n0} customers, {report.Rows:n0} rows acknowledged in {report.Load.TotalSeconds:0} s, {report.Repeated:n0} calls sent again
            campaign             {report.Campaign}
            mails delivered      {report.Mails}, and their people unsubscribed by their links
            histories            {lived.Histories:n0} with merges and undos, {lived.Acknowledged:n0} calls and {lived.Recorded.Count:n0} rows acknowledged
            faults               {Count(faults.Injected)}
            drained after        {report.Drain.TotalSeconds:0.0} s

                                       lost     double  differences
            CDNOW                {Row(report.Findings)}
            histories            {Row(histories)}
            """));
        Write([.. report.Findings.Sentences, .. histories.Sentences]);
        return report.Findings.None && histories.None;
    }

    /// <returns>Whether it is seen.</returns>
    private static async Task<bool> SabotageAsync(Platform platform, CdnowFaults cdnow, Faults faults, string without, int customers, CancellationToken ct)
    {
        await using var scrambler = without == "inbox" ? await Scrambler.StartAsync(platform.RabbitMq!, ct) : null;
        await (without == "inbox" ? Sabotage.DisableInboxAsync(platform, ct) : Sabotage.DisableOutboxAsync(platform, ct));
        await cdnow.LiveAsync(Loaders, TimeSpan.FromSeconds(20), () => faults.RunRoundAsync(TimeSpan.FromSeconds(3), ct), ct);
        var report = await cdnow.CompareAsync(ct);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            CDNOW                {customers:n0} customers, {report.Rows:n0} rows acknowledged, without the {without}
            mails delivered      {report.Mails}
            faults               {Count(faults.Injected)}

                                       lost     double  differences
            CDNOW                {Row(report.Findings)}
            """));
        Write(report.Findings.Sentences);
        var (number, what) = without == "inbox" ? (report.Findings.Double, "double") : (report.Findings.Lost, "lost");
        Console.WriteLine(number > 0 ? $"Without the {without} {number} {what} are found." : $"Without the {without} nothing {what} is found: the check is blind.");
        return number > 0;
    }

    /// <summary>Why the load did not come to its end; null when it did. What there is of it is compared all the same.</summary>
    private static async Task<string?> FailureOfAsync(Task loading)
    {
        try
        {
            await loading;
            return null;
        }
        catch (Exception e) when (e is RunnerException or ApiException)
        {
            return e.Message;
        }
    }

    private static (int? Customers, int Minutes, string? Without) Read(string[] args)
    {
        (int? customers, var minutes, string? without) = (null, 20, null);
        for (var i = 0; i < args.Length; i += 2)
        {
            switch (args[i..Math.Min(i + 2, args.Length)])
            {
                case ["--customers", var text] when int.TryParse(text, out var number) && number > 0:
                    customers = number;
                    break;
                case ["--minutes", var text] when int.TryParse(text, out var number) && number >= 0:
                    minutes = number;
                    break;
                case ["--without", "inbox" or "outbox"]:
                    without = args[i + 1];
                    break;
                default:
                    throw new RunnerException("chaos does not understand that.", "Write: ./crm chaos [--customers N] [--minutes N] [--without inbox|outbox]");
            }
        }

        return (customers, minutes, without);
    }

    private static string Count(IReadOnlyList<string> faults) => $"{faults.Count}: {string.Join(", ", faults.GroupBy(f => f).Select(g => $"{g.Key} x{g.Count()}"))}";

    private static string Row(Findings findings) => string.Create(CultureInfo.InvariantCulture, $"{findings.Lost,10:n0} {findings.Double,10:n0} {findings.Differences,12:n0}");

    private static void Write(IReadOnlyList<string> sentences)
    {
        foreach (var sentence in sentences.Take(MostSentences))
            Console.WriteLine($"  {sentence}");
        if (sentences.Count > MostSentences)
            Console.WriteLine($"  and {sentences.Count - MostSentences} more");
    }
}
