using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Npgsql;

namespace Crm.Runner.Bench;

/// <summary>
/// Rows per second of an import through the public door, all in (validation, matching, search index, events, audit log,
/// results for the undo), beside COPY of the same customers in the same run: into a table with the same indexes and
/// into a bare one; and what others notice of it: how long their changes take to all copies meanwhile.
/// </summary>
internal static class ImportBench
{
    public const int DefaultRows = 100_000;

    public static async Task<int> RunAsync(int rows, CancellationToken ct)
    {
        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("bench", progress: progress.Step, durable: true, ct: ct);
        using var client = platform.CreateClient();
        client.Timeout = TimeSpan.FromMinutes(30);
        var body = Path.Combine(platform.Folder, "import.ndjson");
        await WriteAsync(body, rows, ct);

        progress.Step("bench", string.Create(CultureInfo.InvariantCulture, $"import of {rows:n0} new customers"));
        await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));
        var copies = new List<NpgsqlDataSource>();
        foreach (var service in (string[])["interactions", "campaigns", "billing-sync", "support"])
            copies.Add(NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service)));
        using var done = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var start = Stopwatch.GetTimestamp();
        var others = MeanwhileAsync(client, copies, done.Token);
        var path = await SendAsync(client, body, ct);
        var stored = Stopwatch.GetElapsedTime(start);
        var created = await WaitAsync(client, path, "completed", ct);
        var imported = Stopwatch.GetElapsedTime(start);
        await done.CancelAsync();
        var meanwhile = await others;
        while ((await Task.WhenAll(copies.Select(c => CountAsync(c, ct)))).Any(n => n < rows))
            await Task.Delay(100, ct);
        var copied = Stopwatch.GetElapsedTime(start);

        progress.Step("bench", "the same again, which changes nothing");
        start = Stopwatch.GetTimestamp();
        var unchanged = await WaitAsync(client, await SendAsync(client, body, ct), "completed", ct);
        var again = Stopwatch.GetElapsedTime(start);

        progress.Step("bench", "COPY of the same rows");
        var indexed = await CopyAsync(database, "INCLUDING ALL", ct);
        var bare = await CopyAsync(database, "", ct);

        progress.Step("bench", "undo");
        start = Stopwatch.GetTimestamp();
        using (var undo = await client.PostAsync($"{path}/undo", null, ct))
            undo.EnsureSuccessStatusCode();
        var undone = await WaitAsync(client, path, "undone", ct);
        var undoing = Stopwatch.GetElapsedTime(start);

        if (created.GetProperty("created").GetInt32() != rows || unchanged.GetProperty("unchanged").GetInt32() != rows || undone.GetProperty("undo").GetProperty("removed").GetInt32() != rows)
            throw new RunnerException($"The import did not do what was measured: {created} {unchanged} {undone}", "");

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {DateTime.UtcNow:yyyy-MM-dd}, {Environment.ProcessorCount} cores for everything, .NET {Environment.Version}, {rows:n0} customers, fsync on

            | what | rows per second | share of COPY with indexes |
            |---|---|---|
            {Row("import of new customers, from the first byte to completed", imported)}
            {Row("of which: body received and stored", stored)}
            {Row("until the four copies have them all", copied)}
            {Row("the same import again: every row found and unchanged", again)}
            {Row("undo", undoing)}
            {Row("limit: raw COPY of the same rows into a table with the same indexes", indexed)}
            {Row("limit: raw COPY of the same rows into a table without indexes", bare)}

            A create by somebody else meanwhile, from its answer to visible in all four copies: p50 {meanwhile.P50:n0} ms, p99 {meanwhile.P99:n0} ms.
            """));
        foreach (var copy in copies)
            await copy.DisposeAsync();
        return 0;

        string Row(string what, TimeSpan time) =>
            string.Create(CultureInfo.InvariantCulture, $"| {what} | {rows / time.TotalSeconds:n0} | {indexed / time:0.000} |");
    }

    /// <summary>Imports customers as the API has them, and waits until they are there.</summary>
    public static async Task ImportAsync(HttpClient client, string file, IEnumerable<object> customers, CancellationToken ct)
    {
        await File.WriteAllLinesAsync(file, customers.Select(c => JsonSerializer.Serialize(c, ApiClient.Json)), ct);
        await WaitAsync(client, await SendAsync(client, file, ct), "completed", ct);
    }

    /// <summary>Two creates a second, each followed into the copies, until it is told to end.</summary>
    private static async Task<Series> MeanwhileAsync(HttpClient client, IReadOnlyList<NpgsqlDataSource> copies, CancellationToken ct)
    {
        var (start, latencies) = (Stopwatch.GetTimestamp(), new List<double>());
        try
        {
            while (true)
            {
                using var made = await client.PostAsJsonAsync("v1/customers?allow_duplicate=true&reason=bench", new { kind = "person", given_name = "Eve", emails = new[] { new { address = $"{Guid.NewGuid():n}@others.example" } }, source = new { type = "enquiry" } }, ct);
                var begun = Stopwatch.GetTimestamp();
                if (made.StatusCode == HttpStatusCode.GatewayTimeout)
                {
                    latencies.Add(10_000); // The gateway waited no longer.
                    continue;
                }

                made.EnsureSuccessStatusCode();
                var id = (await made.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("id").GetString()!;
                foreach (var copy in copies)
                {
                    await using var find = copy.CreateCommand("SELECT EXISTS (SELECT FROM customers WHERE id = $1)");
                    find.Parameters.Add(new() { Value = PublicIds.Parse(id) });
                    while (await find.ExecuteScalarAsync(ct) is not true)
                        await Task.Delay(5, ct);
                }

                latencies.Add(Stopwatch.GetElapsedTime(begun).TotalMilliseconds);
                await Task.Delay(500, ct);
            }
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            return Series.Of(latencies, Stopwatch.GetElapsedTime(start));
        }
    }

    private static async Task<long> CountAsync(NpgsqlDataSource copy, CancellationToken ct)
    {
        await using var count = copy.CreateCommand("SELECT count(*) FROM customers WHERE given_name = 'Ada'");
        return (long)(await count.ExecuteScalarAsync(ct))!;
    }

    private static async Task WriteAsync(string file, int rows, CancellationToken ct)
    {
        await using var writer = new StreamWriter(file, append: false, new UTF8Encoding(false));
        for (var i = 0; i < rows; i++)
        {
            var unique = Guid.NewGuid().ToString("n");
            await writer.WriteLineAsync($$$"""
                {"kind":"person","given_name":"Ada","family_name":"{{{unique[..8]}}}","emails":[{"address":"{{{unique}}}@customers.example","type":"work"}],"addresses":[{"lines":["12 St James's Sq"],"city":"London","postal_code":"SW1Y 4JH","country":"GB"}],"locale":"en-GB","time_zone":"Europe/London","external_ids":[{"system":"bench","id":"{{{unique}}}"}],"source":{"type":"import"}}
                """.AsMemory(), ct);
        }
    }

    /// <returns>Where the import can be looked at.</returns>
    private static async Task<string> SendAsync(HttpClient client, string file, CancellationToken ct)
    {
        await using var stream = File.OpenRead(file);
        using var content = new StreamContent(stream);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        using var accepted = await client.PostAsync("v1/imports", content, ct);
        accepted.EnsureSuccessStatusCode();
        return accepted.Headers.Location!.ToString();
    }

    private static async Task<JsonElement> WaitAsync(HttpClient client, string path, string status, CancellationToken ct)
    {
        while (true)
        {
            var import = await client.GetFromJsonAsync<JsonElement>(path, ct);
            if (import.GetProperty("status").GetString() == status)
                return import;
            await Task.Delay(100, ct);
        }
    }

    /// <summary>Reads the customers into memory first, so that only the writing is measured.</summary>
    private static async Task<TimeSpan> CopyAsync(NpgsqlDataSource database, string like, CancellationToken ct)
    {
        await using var connection = await database.OpenConnectionAsync(ct);
        await using (var create = new NpgsqlCommand($"DROP TABLE IF EXISTS bench_copy; CREATE TABLE bench_copy (LIKE customers {like})", connection))
            await create.ExecuteNonQueryAsync(ct);
        using var rows = new MemoryStream();
        await using (var export = await connection.BeginRawBinaryCopyAsync("COPY customers TO STDOUT (FORMAT BINARY)", ct))
            await export.CopyToAsync(rows, ct);
        rows.Position = 0;
        var start = Stopwatch.GetTimestamp();
        await using (var import = await connection.BeginRawBinaryCopyAsync("COPY bench_copy FROM STDIN (FORMAT BINARY)", ct))
            await rows.CopyToAsync(import, ct);
        var time = Stopwatch.GetElapsedTime(start);
        await using (var drop = new NpgsqlCommand("DROP TABLE bench_copy", connection))
            await drop.ExecuteNonQueryAsync(ct);
        return time;
    }
}
