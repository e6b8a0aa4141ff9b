using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Bench;

/// <summary>
/// A merge of two customers with many orders each, and its undo, through the public door until every service has answered;
/// beside a bare UPDATE of as many rows in the same run.
/// </summary>
internal static class MergeBench
{
    public const int DefaultRows = 10_000;

    private const int Concurrency = 16;

    public static async Task<int> RunAsync(int rows, CancellationToken ct)
    {
        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("bench", progress: progress.Step, durable: true, ct: ct);
        using var api = new ApiClient(platform.CreateClient());
        var survivor = await CreateAsync(api, "Ada", ct);
        var absorbed = await CreateAsync(api, "Augusta", ct);

        progress.Step("bench", string.Create(CultureInfo.InvariantCulture, $"{2 * rows:n0} orders"));
        await Parallel.ForEachAsync(Enumerable.Range(0, 2 * rows), new ParallelOptions { MaxDegreeOfParallelism = Concurrency, CancellationToken = ct }, async (i, token) =>
            await api.PutAsync($"v1/orders/by-external-id/bench/{i.ToString(CultureInfo.InvariantCulture)}", new
            {
                customer_id = i < rows ? survivor : absorbed,
                placed_at = DateTimeOffset.UnixEpoch.AddHours(i),
                total = new { amount_minor = 100, currency = "EUR" },
                status = "completed",
            }, token));
        await UntilAsync(async () => await CountAsync("interactions", "timeline") == 2 * rows && await CountAsync("campaigns", "orders") == 2 * rows, ct);

        progress.Step("bench", "merge");
        var start = Stopwatch.GetTimestamp();
        var preview = await api.PostAsync("v1/merge-previews", new { customer_ids = new[] { survivor, absorbed }, survivor_id = survivor }, Guid.NewGuid().ToString("n"), ct);
        var previewed = Stopwatch.GetElapsedTime(start);
        start = Stopwatch.GetTimestamp();
        var path = $"v1/merges/{(await api.PostAsync("v1/merges", new { token = preview.GetProperty("token").GetString(), reason = "Bench" }, Guid.NewGuid().ToString("n"), ct)).GetProperty("id").GetString()}";
        var answered = Stopwatch.GetElapsedTime(start);
        var merge = await WaitAsync(api, path, "completed", ct);
        var merged = Stopwatch.GetElapsedTime(start);
        var moved = MovedRows(merge, "merge");

        progress.Step("bench", "undo");
        start = Stopwatch.GetTimestamp();
        await api.PostAsync($"{path}/undo", new { reason = "Bench" }, Guid.NewGuid().ToString("n"), ct);
        var undo = await WaitAsync(api, path, "undone", ct);
        var undone = Stopwatch.GetElapsedTime(start);
        if (moved != 3 * rows || MovedRows(undo, "undo") != moved)
            throw new RunnerException($"The merge did not do what was measured: {merge.GetProperty("receipts")}", "");

        progress.Step("bench", "UPDATE of as many rows");
        var bare = TimeSpan.Zero;
        foreach (var (service, table) in new[] { ("billing-sync", "orders"), ("interactions", "timeline"), ("campaigns", "orders") })
        {
            await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
            await using var update = database.CreateCommand($"UPDATE {table} SET customer_id = $1 WHERE customer_id = $2");
            update.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = PublicIds.Parse(survivor) });
            update.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = PublicIds.Parse(absorbed) });
            start = Stopwatch.GetTimestamp();
            await update.ExecuteNonQueryAsync(ct);
            bare += Stopwatch.GetElapsedTime(start);
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {DateTime.UtcNow:yyyy-MM-dd}, {Environment.ProcessorCount} cores for everything, .NET {Environment.Version}, two customers with {rows:n0} orders each, {moved:n0} rows moved in three databases, fsync on

            | what | time | times the limit |
            |---|---|---|
            {Row("preview: fields, and rows per service", previewed)}
            {Row("merge: answered, the old id answers 308", answered)}
            {Row("merge: completed, every service has moved its rows and said so", merged)}
            {Row("undo: every service has given them back", undone)}
            {Row("limit: one UPDATE of the same rows in each of the three databases", bare)}
            """));
        return 0;

        string Row(string what, TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"| {what} | {time.TotalMilliseconds:n0} ms | {time / bare:0.00} |");

        async Task<long> CountAsync(string service, string table)
        {
            await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
            await using var command = database.CreateCommand($"SELECT count(*) FROM {table}");
            return (long)(await command.ExecuteScalarAsync(ct))!;
        }
    }

    private static async Task<string> CreateAsync(ApiClient api, string name, CancellationToken ct) => (await api.PostAsync("v1/customers", new
    {
        kind = "person",
        given_name = name,
        family_name = "Byron",
        emails = new[] { new { address = $"{name}@bench.example", type = "home" } },
        source = new { type = "enquiry" },
    }, Guid.NewGuid().ToString("n"), ct)).GetProperty("id").GetString()!;

    private static long MovedRows(JsonElement merge, string phase) => merge.GetProperty("receipts").EnumerateArray()
        .Where(r => r.GetProperty("phase").GetString() == phase && r.GetProperty("service").GetString() != "contacts")
        .Sum(r => r.GetProperty("counts").EnumerateObject().Sum(c => c.Value.GetInt64()));

    private static async Task<JsonElement> WaitAsync(ApiClient api, string path, string status, CancellationToken ct)
    {
        while (true)
        {
            var merge = await api.GetAsync(path, ct);
            if (merge.GetProperty("status").GetString() == status)
                return merge;
            await Task.Delay(10, ct);
        }
    }

    private static async Task UntilAsync(Func<Task<bool>> condition, CancellationToken ct)
    {
        while (!await condition())
            await Task.Delay(500, ct);
    }
}
