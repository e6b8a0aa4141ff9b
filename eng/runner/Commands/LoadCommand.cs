using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using Crm.Runner.Cdnow;

namespace Crm.Runner.Commands;

/// <summary>Loads the CDNOW purchase log into the running platform; interrupted, the next call goes on where it stopped.</summary>
internal static class LoadCommand
{
    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (take, concurrency) = Parse(args);
        var root = Topology.FindRoot();
        using var installation = Installation.Look(root);
        var credentials = installation.ReadCredentials();
        if (!credentials.TryGetValue("CRM_URL", out var url))
            throw new RunnerException("Nothing runs here.", "Run ./crm up first.");
        var shared = Environment.GetEnvironmentVariable("CRM_SHARED") is { Length: > 0 } folder ? folder : Path.Combine(root, "..", "shared");
        var customers = CdnowData.Read(Path.GetFullPath(shared, root), take);

        var doneFile = Path.Combine(installation.Folder, "cdnow-load.done");
        var done = File.Exists(doneFile) ? (await File.ReadAllLinesAsync(doneFile, ct)).ToHashSet(StringComparer.Ordinal) : [];
        var left = customers.Where(c => !done.Contains(c.Id)).ToList();
        if (left.Count == 0)
        {
            Console.WriteLine($"All {customers.Count} customers are loaded. To load them again, which changes nothing, delete {Path.GetRelativePath(root, doneFile)}.");
            return 0;
        }

        if (left.Count < customers.Count)
            Console.WriteLine($"Going on: {customers.Count - left.Count} of {customers.Count} customers are loaded.");
        using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = new Uri(url + "/") };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", credentials["CRM_PARTNER_KEY"]);
        var load = new CdnowLoad(client, concurrency);
        var rows = CdnowLoad.RowsOf(left);
        var start = Stopwatch.GetTimestamp();
        await using var record = new StreamWriter(doneFile, append: true) { AutoFlush = true };
        var gate = new Lock();
        using var bar = new Timer(_ => Show(load, rows, start), null, TimeSpan.Zero, Console.IsOutputRedirected ? TimeSpan.FromSeconds(5) : TimeSpan.FromMilliseconds(250));
        await load.RunAsync(
            left,
            customer =>
            {
                lock (gate)
                    record.WriteLine(customer.Id);
            },
            ct);
        await bar.DisposeAsync();
        Show(load, rows, start);
        var purchases = left.SelectMany(c => c.Purchases).ToList();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"\nLoaded {left.Count:n0} customers, {purchases.Count:n0} orders, ${purchases.Sum(p => p.AmountMinor) / 100m:n2}; {load.Repeated} calls were sent again."));
        return 0;
    }

    private static void Show(CdnowLoad load, long rows, long start)
    {
        var done = load.Rows;
        var share = rows == 0 ? 1 : (double)done / rows;
        var rate = done / Math.Max(0.001, Stopwatch.GetElapsedTime(start).TotalSeconds);
        var line = string.Create(CultureInfo.InvariantCulture, $"[{new string('#', (int)(share * 30)),-30}] {share,4:0%}  {done:n0} of {rows:n0} rows  {rate:n0} rows/s");
        Console.Write(Console.IsOutputRedirected ? line + "\n" : "\r" + line);
    }

    private static (int? Take, int Concurrency) Parse(string[] args)
    {
        int? take = null;
        var concurrency = 8;
        for (var i = 0; i < args.Length; i += 2)
        {
            if (i + 1 >= args.Length || !int.TryParse(args[i + 1], out var number) || number < 1)
                throw Usage();
            switch (args[i])
            {
                case "--customers":
                    take = number;
                    break;
                case "--concurrency":
                    concurrency = number;
                    break;
                default:
                    throw Usage();
            }
        }

        return (take, concurrency);

        static RunnerException Usage() => new("load does not understand that.", "Write: ./crm load [--customers N] [--concurrency N]");
    }
}
