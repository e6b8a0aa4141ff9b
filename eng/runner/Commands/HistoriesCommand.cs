using System.Globalization;
using Crm.Runner.Histories;

namespace Crm.Runner.Commands;

/// <summary>
/// Random histories of merges and undos by their seeds, on a platform of its own; runs of other seeds add up to one of more
/// histories. Exit code 1 when one did not come to what it must.
/// </summary>
internal static class HistoriesCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (from, count) = Read(args);
        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("histories", progress: progress.Step, ct: ct);
        var report = await SeededHistories.RunAsync(platform, from, count, begun => Tell(progress, begun, count), ct);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            seeds                {from} to {from + count - 1}
            histories            {report.Histories.Histories:n0} with merges and undos, {report.Histories.Acknowledged:n0} calls and {report.Histories.Recorded.Count:n0} rows acknowledged
            kills                {report.Kills} of services and the gateway
            messages             {report.Messages.Came:n0}, which came {report.Messages.Copies:n0} times
            lost                 {report.Findings.Lost}
            double               {report.Findings.Double}
            differences          {report.Findings.Differences}
            """));
        foreach (var sentence in report.Findings.Sentences)
            Console.WriteLine($"  {sentence}");
        return report.Findings.None && report.Histories.Histories == count ? 0 : 1;
    }

    private static void Tell(Progress progress, int begun, int count)
    {
        if (begun % 100 == 0 || begun == count)
            progress.Step("histories", string.Create(CultureInfo.InvariantCulture, $"{begun:n0} of {count:n0} begun"));
    }

    private static (int From, int Count) Read(string[] args)
    {
        var (from, count) = (1, 10_000);
        for (var i = 0; i < args.Length; i += 2)
        {
            switch (args[i..Math.Min(i + 2, args.Length)])
            {
                case ["--from", var text] when int.TryParse(text, CultureInfo.InvariantCulture, out var number) && number >= 0:
                    from = number;
                    break;
                case ["--count", var text] when int.TryParse(text, CultureInfo.InvariantCulture, out var number) && number > 0:
                    count = number;
                    break;
                default:
                    throw new RunnerException("histories does not understand that.", "Write: ./crm histories [--from SEED] [--count N]");
            }
        }

        return (from, count);
    }
}
