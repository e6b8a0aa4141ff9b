using System.Globalization;
using Crm.Runner.Cdnow;

namespace Crm.Runner.Commands;

/// <summary>
/// The whole CDNOW load and a campaign on a platform of its own while every part of it is killed, and a report;
/// exit code 1 when anything was lost, doubled or differs.
/// </summary>
internal static class ChaosCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        int? take = args switch
        {
            [] => null,
            ["--customers", var text] when int.TryParse(text, out var number) && number > 0 => number,
            _ => throw new RunnerException("chaos does not understand that.", "Write: ./crm chaos [--customers N]"),
        };
        var root = Topology.FindRoot();
        var shared = Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder ? folder : Path.Combine(root, "..", "shared");
        var customers = CdnowData.Read(Path.GetFullPath(shared, root), take);
        var progress = new Progress();
        await Build.Programs(Topology.Load(root)).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("chaos", progress: progress.Step, ct: ct);
        var report = await new CdnowFaults(platform, customers, text => progress.Step("chaos", text))
            .RunAsync(rounds: 3, pause: TimeSpan.FromSeconds(3), withDatabase: true, ct);

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            customers            {report.Customers:n0}
            rows acknowledged    {report.Rows:n0} in {report.Load.TotalSeconds:0} s
            calls sent again     {report.Repeated:n0}
            faults               {report.Faults.Count}: {string.Join(", ", report.Faults.GroupBy(f => f).Select(g => $"{g.Key} x{g.Count()}"))}
            drained after        {report.Drain.TotalSeconds:0.0} s
            campaign             {report.Campaign}
            mails delivered      {report.Mails}
            differences          {report.Differences.Count}
            """));
        foreach (var difference in report.Differences)
            Console.WriteLine($"  {difference}");
        return report.Differences.Count == 0 ? 0 : 1;
    }
}
