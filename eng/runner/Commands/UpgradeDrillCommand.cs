using System.Globalization;
using System.Net.Http.Headers;
using Crm.Runner.Histories;
using Crm.Runner.Rollouts;

namespace Crm.Runner.Commands;

/// <summary>
/// The previous release, two replicas of everything, is replaced by the present one under load: first the schemas, then one
/// replica after the other. Exit code 1 when a call failed (none is forgiven for being sent again), or anything was lost,
/// doubled or differs.
/// </summary>
internal static class UpgradeDrillCommand
{
    private static readonly TimeSpan Before = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (from, clients) = Read(args);
        var root = Topology.FindRoot();
        var progress = new Progress();
        var (folder, commit) = await PreviousRelease.CheckOutAsync(root, from, ct);
        progress.Step("from", commit);
        progress.Step("to", $"{await PreviousRelease.DescribeAsync(root, ct)}, and what is not committed");
        var (old, next) = (Topology.Load(folder), Topology.Load(root));
        await Build.Programs(old).RunAsync(progress.Step, ct);
        await Build.Programs(next).RunAsync(progress.Step, ct);

        await using var rollout = await Rollout.StartAsync(old, next, progress.Step, ct);
        using var calls = new EveryCall();
        using var http = new HttpClient(calls) { BaseAddress = rollout.Platform.GatewayAddress };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", rollout.Platform.PartnerKey);
        using var api = new ApiClient(http);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var replaced = false;
        var reads = new ReadLoad(http, calls);
        var reading = reads.RunAsync(stop.Token);
        // Not begun by a throwing call: the load goes on while a replacement fails, and is looked at all the same.
        var writing = HistoryLoad.LiveAsync(rollout.Platform, api, clients, () => !Volatile.Read(ref replaced), ct);
        progress.Step("load", $"{clients} clients that write, one that reads");
        await Task.Delay(Before, ct);
        IReadOnlyList<string> wrong;
        try
        {
            wrong = await rollout.ReplaceAsync(next, Pause, ct);
        }
        finally
        {
            Volatile.Write(ref replaced, true);
        }

        progress.Step("load", "no more is begun; what was begun comes to its end");
        var histories = await writing;
        await stop.CancelAsync();
        await reading;
        await using var check = await HistoryCheck.OpenAsync(rollout.Platform);
        var found = new Findings();
        await check.CompareAllAsync(histories.Recorded, [], found, ct);
        found.AddDifferences(histories.Differences);
        var latencies = calls.Latencies;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            from                 {commit}
            calls                {calls.Count:n0}, of which {histories.Acknowledged:n0} changed something; p50 {latencies.P50:0} ms, p99 {latencies.P99:0} ms
            calls failed         {calls.Failed.Count}
            late parts           {reads.LateParts} of overviews, answered without them
            rows acknowledged    {histories.Recorded.Count:n0} in {histories.Histories:n0} histories with merges and undos
            rows lost            {found.Lost}
            rows doubled         {found.Double}
            differences          {found.Differences}
            replicas             {(wrong.Count == 0 ? "all ended by themselves" : string.Join("; ", wrong))}
            logs                 .run/logs/upgrade-drill
            """));
        foreach (var line in calls.Failed.Concat(found.Sentences))
            Console.WriteLine($"  {line}");
        return found.None && calls.Failed.Count + wrong.Count == 0 ? 0 : 1;
    }

    private static (string? From, int Clients) Read(string[] args)
    {
        // More than the machine can serve would fail for want of time, whatever is replaced.
        (string? from, var clients) = (null, 2 * Environment.ProcessorCount);
        for (var i = 0; i < args.Length; i += 2)
        {
            switch (args[i..Math.Min(i + 2, args.Length)])
            {
                case ["--from", { Length: > 0 } commit]:
                    from = commit;
                    break;
                case ["--clients", var text] when int.TryParse(text, out var number) && number > 0:
                    clients = number;
                    break;
                default:
                    throw new RunnerException("upgrade-drill does not understand that.", "Write: ./crm upgrade-drill [--from COMMIT] [--clients N]");
            }
        }

        return (from, clients);
    }
}
