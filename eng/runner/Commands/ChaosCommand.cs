using System.Globalization;
using Crm.Runner.Cdnow;
using Crm.Runner.Histories;

namespace Crm.Runner.Commands;

/// <summary>
/// The whole CDNOW load, a campaign and its unsubscribe links, then random histories with merges and undos, on a platform of
/// its own while every part of it is killed; and a report. Exit code 1 when anything was lost, doubled or differs. With
/// <c>--without inbox</c> or <c>--without outbox</c>, a short load with that guarantee taken away: exit code 1 when nothing
/// is found.
/// </summary>
internal static class ChaosCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (customers, minutes, without) = Read(args);
        var root = Topology.FindRoot();
        var shared = Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder ? folder : Path.Combine(root, "..", "shared");
        var log = CdnowData.Read(Path.GetFullPath(shared, root), customers ?? (without is null ? null : 200));
        var progress = new Progress();
        await Build.Programs(Topology.Load(root)).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("chaos", progress: progress.Step, ct: ct);
        await using var scrambler = without == "inbox" ? await Scrambler.StartAsync(platform.RabbitMq!, ct) : null;
        await (without switch
        {
            "inbox" => Sabotage.DisableInboxAsync(platform, ct),
            "outbox" => Sabotage.DisableOutboxAsync(platform, ct),
            _ => Task.CompletedTask,
        });

        var report = await new CdnowFaults(platform, log, text => progress.Step("chaos", text))
            .RunAsync(rounds: without is null ? 3 : 1, pause: TimeSpan.FromSeconds(3), withDatabase: true, ct);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            customers            {report.Customers:n0}
            rows acknowledged    {report.Rows:n0} in {report.Load.TotalSeconds:0} s
            calls sent again     {report.Repeated:n0}
            faults               {Count(report.Faults)}
            drained after        {report.Drain.TotalSeconds:0.0} s
            campaign             {report.Campaign}
            mails delivered      {report.Mails}, and as many people unsubscribed by their links
            differences          {report.Differences.Count}
            """));
        Write(report.Differences);
        if (without is not null)
        {
            Console.WriteLine(report.Differences.Count > 0 ? $"Without the {without} this is seen." : $"Without the {without} nothing is seen: the check is blind.");
            return report.Differences.Count > 0 ? 0 : 1;
        }

        var histories = await HistoryLoad.RunAsync(platform, TimeSpan.FromMinutes(minutes), TimeSpan.FromSeconds(5), text => progress.Step("chaos", text), ct);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            histories            {histories.Histories:n0} with merges and undos, {histories.Acknowledged:n0} calls acknowledged in {minutes} minutes
            faults               {Count(histories.Faults)}
            differences          {histories.Differences.Count}
            """));
        Write(histories.Differences);
        // The logs go with the platform.
        Write([.. platform.Services.Values.Select(s => s.FirstFailure()).Where(f => f.Length > 0)]);
        return report.Differences.Count + histories.Differences.Count == 0 ? 0 : 1;
    }

    private static (int? Customers, int Minutes, string? Without) Read(string[] args)
    {
        (int? customers, var minutes, string? without) = (null, 15, null);
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

    private static void Write(IReadOnlyList<string> differences)
    {
        foreach (var difference in differences)
            Console.WriteLine($"  {difference}");
    }
}
