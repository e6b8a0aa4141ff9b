using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Crm.Contacts.Domain.Matching;
using Npgsql;
using RabbitMQ.Client;

namespace Crm.Runner.Bench;

/// <summary>
/// What each kind of request costs, with all that follows from it in other services, and where: by itself, then all kinds mixed
/// as an office would. The figures that docs/capacity.md calculates with.
/// </summary>
internal static class ProfileBench
{
    private const int DefaultCustomers = 50_000;
    private const int SampleSize = 2_000;

    /// <summary>Services with a bus.</summary>
    private static readonly string[] Outboxes = ["contacts", "interactions", "campaigns", "billing-sync", "support"];

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        var (seconds, clients, customers) = Read(args);
        var time = TimeSpan.FromSeconds(seconds);
        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("profile", progress: progress.Step, durable: true, ct: ct);
        using var client = platform.CreateClient();
        client.Timeout = TimeSpan.FromMinutes(30);
        await using var bench = await Measured.OpenAsync(platform, ct);

        var empty = await bench.DiskAsync(ct);
        progress.Step("bench", string.Create(CultureInfo.InvariantCulture, $"import of {customers:n0} customers"));
        var people = new SyntheticPopulation(seed: 11);
        await ImportBench.ImportAsync(client, Path.Combine(platform.Folder, "import.ndjson"), people.People(customers).Select(Body), ct);
        await bench.UntilDrainedAsync(ct);
        customers = (int)await bench.CustomersAsync(ct);
        var perCustomer = (double)(await bench.DiskAsync(ct) - empty) / customers;
        using var newcomers = people.People(int.MaxValue).GetEnumerator();
        var kinds = Kinds(client, await SampleAsync(client, ct), () =>
        {
            lock (people)
            {
                newcomers.MoveNext();
                return Body(newcomers.Current);
            }
        });

        progress.Step("bench", "warming up, and an order, a case and an interaction for each of the sample");
        foreach (var kind in kinds)
            await Measure.LoopAsync(clients, kind.IsWrite ? time : TimeSpan.FromSeconds(3), kind.CallAsync, ct);
        await bench.UntilDrainedAsync(ct);
        await bench.ExecuteAsync("CHECKPOINT", ct);

        progress.Step("bench", "at rest");
        await Task.Delay(TimeSpan.FromSeconds(5), ct);
        var rest = await bench.DuringAsync(async () =>
        {
            await Task.Delay(time, ct);
            return 0;
        }, ct);

        var alone = new List<Cost>();
        foreach (var kind in kinds)
        {
            progress.Step("bench", $"{kind.Name} by itself");
            alone.Add(Cost.Of(kind.Name, await bench.DuringAsync(() => Measure.LoopAsync(clients, time, kind.CallAsync, ct), ct), rest));
        }

        progress.Step("bench", "all kinds mixed");
        var latencies = kinds.ToDictionary(k => k.Name, _ => new ConcurrentBag<double>());
        var (disk, handled) = (await bench.DiskAsync(ct), await bench.HandledAsync(ct));
        var mixed = await bench.DuringAsync(() => Measure.LoopAsync(clients, time * 3, async token =>
        {
            var kind = Any(kinds);
            var start = Stopwatch.GetTimestamp();
            await kind.CallAsync(token);
            latencies[kind.Name].Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }, ct), ct);

        var changes = kinds.Where(k => k.IsWrite).Sum(k => latencies[k.Name].Count);
        var cost = Cost.Of("mix", mixed, rest);
        var capacity = new Capacity(
            customers, cost.Of("gateway"), cost.Services, cost.Of(ProcessUse.Postgres), cost.Of($"{ProcessUse.Postgres} contacts"), cost.Of(ProcessUse.RabbitMq), cost.Wal,
            (double)(await bench.HandledAsync(ct) - handled) / latencies.Values.Sum(l => l.Count), kinds.Where(k => k.IsWrite).Sum(k => k.Share) / 100.0,
            perCustomer, (double)Math.Max(0, await bench.DiskAsync(ct) - disk) / changes);
        Print(clients, seconds, kinds, rest, alone, mixed, latencies, await bench.RowsAsync(ct), await bench.VersionsAsync(ct));
        Console.WriteLine($"""

            For docs/capacity.md:

            {capacity.Inputs()}

            {capacity.Demand()}
            """);
        return 0;
    }

    private static (int Seconds, int Clients, int Customers) Read(string[] args)
    {
        var (seconds, clients, customers) = (20, 8, DefaultCustomers);
        for (var i = 0; i < args.Length; i += 2)
        {
            if (i + 1 >= args.Length || !int.TryParse(args[i + 1], CultureInfo.InvariantCulture, out var number) || number < 1)
                throw NotUnderstood();
            switch (args[i])
            {
                case "--seconds":
                    seconds = number;
                    break;
                case "--clients":
                    clients = number;
                    break;
                case "--rows":
                    customers = number;
                    break;
                default:
                    throw NotUnderstood();
            }
        }

        return (seconds, clients, customers);

        static RunnerException NotUnderstood() => new("bench --profile does not understand that.", "Write: ./crm bench --profile [--seconds N] [--clients N] [--rows N]");
    }

    /// <summary>How often each kind comes in a hundred of the mix: nine of ten look, one of ten changes something, and an order is what changes most.</summary>
    private static Kind[] Kinds(HttpClient client, IReadOnlyList<(string Id, string Name)> sample, Func<object> newcomer)
    {
        return
        [
            new("read", "`GET /v1/customers/{id}`", 30, false, ct => GetAsync($"v1/customers/{Any().Id}", ct)),
            new("list", "`GET /v1/customers?limit=50`", 5, false, ct => GetAsync("v1/customers?limit=50", ct)),
            new("search", "`GET /v1/customers?q=…`, a typing error in it", 10, false, ct => GetAsync($"v1/customers?limit=10&q={Uri.EscapeDataString(Mistyped(Any().Name))}", ct)),
            new("timeline", "`GET /v1/customers/{id}/timeline?limit=20`", 15, false, ct => GetAsync($"v1/customers/{Any().Id}/timeline?limit=20", ct)),
            new("overview", "`GET /v1/customers/{id}/overview`", 15, false, ct => GetAsync($"v1/customers/{Any().Id}/overview", ct)),
            new("create", "`POST /v1/customers`", 3, true, ct => PostAsync("v1/customers?allow_duplicate=true&reason=bench", newcomer(), ct)),
            new("patch", "`PATCH /v1/customers/{id}`", 5, true, PatchAsync),
            new("order", "`POST /v1/orders`", 9, true, ct => PostAsync("v1/orders", new { customer_id = Any().Id, placed_at = DateTimeOffset.UtcNow, total = new { amount_minor = 1999, currency = "EUR" }, lines = new[] { new { sku = "A-1", quantity = 2 } }, status = "completed" }, ct)),
            new("case", "`POST /v1/cases`", 3, true, ct => PostAsync("v1/cases", new { customer_id = Any().Id, type = "question", subject = "Where is my order?" }, ct)),
            new("interaction", "`POST /v1/interactions`", 5, true, ct => PostAsync("v1/interactions", new { customer_id = Any().Id, channel = "call", direction = "inbound", started_at = DateTimeOffset.UtcNow }, ct)),
        ];

        (string Id, string Name) Any() => sample[Random.Shared.Next(sample.Count)];

        async Task GetAsync(string path, CancellationToken ct)
        {
            using var response = await client.GetAsync(new Uri(path, UriKind.Relative), ct);
            await RequireAsync(response, ct);
        }

        async Task PostAsync(string path, object body, CancellationToken ct)
        {
            using var response = await client.PostAsJsonAsync(path, body, ct);
            await RequireAsync(response, ct);
        }

        async Task PatchAsync(CancellationToken ct)
        {
            using var request = new HttpRequestMessage(HttpMethod.Patch, new Uri($"v1/customers/{Any().Id}", UriKind.Relative))
            {
                Content = JsonContent.Create(new { attributes = new { bench = Random.Shared.Next() } }, new MediaTypeHeaderValue("application/merge-patch+json")),
            };
            request.Headers.TryAddWithoutValidation("If-Match", "*");
            using var response = await client.SendAsync(request, ct);
            await RequireAsync(response, ct);
        }
    }

    private static object Body(MatchFields p) => new
    {
        kind = "person",
        given_name = p.GivenName,
        family_name = p.FamilyName,
        birth_date = p.BirthDate is null ? null : $"{p.BirthDate[..4]}-{p.BirthDate[4..6]}-{p.BirthDate[6..]}",
        emails = p.Emails.Select(e => new { address = e }),
        phones = p.Phones.Select(n => new { number = n }),
        addresses = p.Addresses.Select(a => new { lines = a.Lines, city = a.City, postal_code = a.PostalCode, country = a.Country }),
        external_ids = new[] { new { system = "bench", id = p.Id } },
        source = new { type = "enquiry" },
    };

    /// <summary>Two neighbours in the middle change places; characters, not halves of them.</summary>
    private static string Mistyped(string name)
    {
        var runes = name.EnumerateRunes().ToList();
        if (runes.Count < 4)
            return name;
        var at = runes.Count / 2;
        (runes[at], runes[at + 1]) = (runes[at + 1], runes[at]);
        return string.Concat(runes);
    }

    private static Kind Any(Kind[] kinds)
    {
        var at = Random.Shared.Next(kinds.Sum(k => k.Share));
        return kinds.First(k => (at -= k.Share) < 0);
    }

    private static async Task RequireAsync(HttpResponseMessage response, CancellationToken ct)
    {
        if (!response.IsSuccessStatusCode)
            throw new RunnerException($"{response.RequestMessage!.Method} {response.RequestMessage.RequestUri!.AbsolutePath} answered {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync(ct)}", "");
        await response.Content.LoadIntoBufferAsync(ct);
    }

    private static async Task<IReadOnlyList<(string Id, string Name)>> SampleAsync(HttpClient client, CancellationToken ct)
    {
        var sample = new List<(string, string)>();
        string? cursor = null;
        do
        {
            var page = await client.GetFromJsonAsync<JsonElement>($"v1/customers?limit=100{(cursor is null ? "" : $"&cursor={Uri.EscapeDataString(cursor)}")}", ct);
            sample.AddRange(page.GetProperty("data").EnumerateArray().Select(c => (c.GetProperty("id").GetString()!, c.GetProperty("display_name").GetString()!)));
            cursor = page.GetProperty("has_more").GetBoolean() ? page.GetProperty("next_cursor").GetString() : null;
        }
        while (cursor is not null && sample.Count < SampleSize);
        return sample;
    }

    private static void Print(
        int clients, int seconds, Kind[] kinds, Window<int> rest, List<Cost> alone, Window<Series> mixed, Dictionary<string, ConcurrentBag<double>> latencies, IReadOnlyList<string> rows, string versions)
    {
        var mix = Cost.Of("mix", mixed, rest);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {DateTime.UtcNow:yyyy-MM-dd}, {Machine.Describe()}, .NET {Environment.Version}, {versions}, fsync on; {clients} clients, {seconds} s each kind, the clients on the same machine

            | database | size | rows in its largest tables |
            |---|---|---|
            {string.Join('\n', rows)}

            Each kind by itself, as fast as {clients} clients go. CPU is of all processes, with everything that follows in other services until the queues are empty.

            | request | per second | p50 | p95 | p99 | CPU ms | gateway | services | PostgreSQL | RabbitMQ | WAL |
            |---|---|---|---|---|---|---|---|---|---|---|
            {string.Join('\n', alone.Select(c => Row(c, kinds.First(k => k.Name == c.Name).Description, c.Series)))}

            The mix, {mixed.Result.PerSecond:n0} requests a second, of which {kinds.Where(k => k.IsWrite).Sum(k => k.Share)} % change something:

            | request | share | per second | p50 | p95 | p99 |
            |---|---|---|---|---|---|
            {string.Join('\n', kinds.Select(Mixed))}
            | all | 100 % | {mix.Series.PerSecond:n0} | {mix.Series.P50:0.0} ms | {mix.Series.P95:0.0} ms | {mix.Series.P99:0.0} ms |

            A request of the mix takes {mix.Total:0.00} ms of a core ({mix.Of("gateway"):0.00} gateway, {mix.Services:0.00} services, {mix.Of(ProcessUse.Postgres):0.00} PostgreSQL, {mix.Of(ProcessUse.RabbitMq):0.00} RabbitMQ) and writes {mix.Wal / 1024:0.0} kB of WAL.

            | process | CPU at rest | CPU in the mix | memory at rest | memory in the mix |
            |---|---|---|---|---|
            {string.Join('\n', mixed.Cpu.Keys.Select(Process))}
            """));

        string Row(Cost c, string what, Series s) => string.Create(CultureInfo.InvariantCulture,
            $"| {what} | {s.PerSecond:n0} | {s.P50:0.0} ms | {s.P95:0.0} ms | {s.P99:0.0} ms | {c.Total:0.00} | {c.Of("gateway"):0.00} | {c.Services:0.00} | {c.Of(ProcessUse.Postgres):0.00} | {c.Of(ProcessUse.RabbitMq):0.00} | {c.Wal / 1024:0.0} kB |");

        string Mixed(Kind kind)
        {
            var s = Series.Of(latencies[kind.Name], mixed.Loaded);
            return string.Create(CultureInfo.InvariantCulture, $"| {kind.Name} | {kind.Share} % | {s.PerSecond:n0} | {s.P50:0.0} ms | {s.P95:0.0} ms | {s.P99:0.0} ms |");
        }

        string Process(string name) => string.Create(CultureInfo.InvariantCulture,
            $"| {name} | {rest.Cpu.GetValueOrDefault(name) / rest.Time.TotalSeconds:0.0%} | {mixed.Cpu[name] / mixed.Time.TotalSeconds:0%} | {rest.Memory.GetValueOrDefault(name) / 1_048_576:n0} MB | {mixed.Memory.GetValueOrDefault(name) / 1_048_576:n0} MB |");
    }

    private sealed record Kind(string Name, string Description, int Share, bool IsWrite, Func<CancellationToken, Task> CallAsync);

    /// <param name="Time">Until everything that followed was done.</param>
    /// <param name="Loaded">Of which calls were made.</param>
    /// <param name="Cpu">Seconds of one core, by process.</param>
    /// <param name="Memory">Bytes at the end of the calls.</param>
    private sealed record Window<T>(T Result, TimeSpan Time, TimeSpan Loaded, IReadOnlyDictionary<string, double> Cpu, IReadOnlyDictionary<string, long> Memory, long Wal);

    /// <summary>Of one request, without what the processes use at rest.</summary>
    /// <param name="Wal">Bytes.</param>
    private sealed record Cost(string Name, Series Series, double Wal, IReadOnlyDictionary<string, double> Milliseconds)
    {
        public double Total => Milliseconds.Where(m => !m.Key.StartsWith(ProcessUse.Postgres + " ", StringComparison.Ordinal) && m.Key != ProcessUse.Client).Sum(m => m.Value);

        /// <summary>The five; what is neither the gateway nor a server nor this program.</summary>
        public double Services => Total - Of("gateway") - Of(ProcessUse.Postgres) - Of(ProcessUse.RabbitMq);

        public static Cost Of(string name, Window<Series> window, Window<int> rest)
        {
            var requests = window.Result.PerSecond * window.Loaded.TotalSeconds;
            var share = window.Time / rest.Time;
            return new(name, window.Result, Math.Max(0, window.Wal - (rest.Wal * share)) / requests,
                window.Cpu.ToDictionary(c => c.Key, c => Math.Max(0, c.Value - (rest.Cpu.GetValueOrDefault(c.Key) * share)) * 1000 / requests));
        }

        public double Of(string process) => Milliseconds.GetValueOrDefault(process);
    }

    /// <summary>The platform, looked at from outside.</summary>
    private sealed class Measured(Platform platform, NpgsqlDataSource server, IReadOnlyDictionary<string, NpgsqlDataSource> databases, IConnection broker, IReadOnlyList<string> queues) : IAsyncDisposable
    {
        public static async Task<Measured> OpenAsync(Platform platform, CancellationToken ct)
        {
            var databases = new Dictionary<string, NpgsqlDataSource>();
            foreach (var service in platform.Services.Keys)
                databases.Add(service, NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service)));
            var queues = (await platform.RabbitMq!.ControlAsync(["list_queues", "-p", "crm", "--no-table-headers", "name"], ct)).Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                .Where(q => q.StartsWith("crm.", StringComparison.Ordinal) && !q.EndsWith("_error", StringComparison.Ordinal)).ToList();
            return new(platform, NpgsqlDataSource.Create(platform.SuperuserConnectionString), databases, await new ConnectionFactory { Uri = new Uri(platform.BusUri) }.CreateConnectionAsync(ct), queues);
        }

        public async Task<Window<T>> DuringAsync<T>(Func<Task<T>> load, CancellationToken ct)
        {
            var (before, wal, start) = (ProcessUse.Of(platform), await WalAsync(ct), Stopwatch.GetTimestamp());
            var result = await load();
            var (loaded, memory) = (Stopwatch.GetElapsedTime(start), ProcessUse.Of(platform).Memory);
            await UntilDrainedAsync(ct);
            var after = ProcessUse.Of(platform);
            return new(result, Stopwatch.GetElapsedTime(start), loaded, after.Cpu.ToDictionary(c => c.Key, c => Math.Max(0, c.Value - before.Cpu.GetValueOrDefault(c.Key))), memory, await WalAsync(ct) - wal);
        }

        /// <summary>No event in an outbox, none in a queue, twice in a row: what is in neither is with a consumer.</summary>
        public async Task UntilDrainedAsync(CancellationToken ct)
        {
            await using var channel = await broker.CreateChannelAsync(cancellationToken: ct);
            for (var empty = 0; empty < 3;)
            {
                var pending = await SumAsync("SELECT count(*) FROM outbox", Outboxes, ct);
                foreach (var queue in queues)
                    pending += await channel.MessageCountAsync(queue, ct);
                empty = pending == 0 ? empty + 1 : 0;
                await Task.Delay(200, ct);
            }
        }

        public Task<long> CustomersAsync(CancellationToken ct) => SumAsync("SELECT count(*) FROM customers", ["contacts"], ct);

        /// <summary>Bytes of all databases.</summary>
        public Task<long> DiskAsync(CancellationToken ct) => SumAsync("SELECT pg_database_size(current_database())", databases.Keys, ct);

        /// <summary>Messages that consumers have handled.</summary>
        public Task<long> HandledAsync(CancellationToken ct) => SumAsync("SELECT count(*) FROM inbox", Outboxes, ct);

        public async Task ExecuteAsync(string sql, CancellationToken ct)
        {
            await using var command = server.CreateCommand(sql);
            command.CommandTimeout = 0;
            await command.ExecuteNonQueryAsync(ct);
        }

        /// <summary>Rows of a Markdown table.</summary>
        public async Task<IReadOnlyList<string>> RowsAsync(CancellationToken ct)
        {
            var rows = new List<string>();
            foreach (var (service, database) in databases)
            {
                await using (var analyze = database.CreateCommand("ANALYZE"))
                    await analyze.ExecuteNonQueryAsync(ct);
                await using var largest = database.CreateCommand("""
                    SELECT pg_database_size(current_database()), string_agg(format('%s %s (%s)', relname, to_char(reltuples, 'FM999,999,999,990'), pg_size_pretty(size)), ', ' ORDER BY size DESC)
                    FROM (SELECT relname, reltuples, pg_total_relation_size(oid) AS size FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 3 DESC LIMIT 5) AS t
                    """);
                await using var row = await largest.ExecuteReaderAsync(ct);
                await row.ReadAsync(ct);
                rows.Add(string.Create(CultureInfo.InvariantCulture, $"| {service} | {row.GetInt64(0) / 1_048_576.0:n0} MB | {row.GetString(1)} |"));
            }

            return rows;
        }

        public async Task<string> VersionsAsync(CancellationToken ct)
        {
            await using var version = server.CreateCommand("SHOW server_version");
            var product = broker.ServerProperties?["version"] is byte[] text ? System.Text.Encoding.UTF8.GetString(text) : "";
            return $"PostgreSQL {((string)(await version.ExecuteScalarAsync(ct))!).Split(' ')[0]}, RabbitMQ {product}";
        }

        public async ValueTask DisposeAsync()
        {
            await broker.DisposeAsync();
            await server.DisposeAsync();
            foreach (var database in databases.Values)
                await database.DisposeAsync();
        }

        private async Task<long> SumAsync(string sql, IEnumerable<string> services, CancellationToken ct)
        {
            var sum = 0L;
            foreach (var service in services)
            {
                await using var command = databases[service].CreateCommand(sql);
                command.CommandTimeout = 0;
                sum += (long)(await command.ExecuteScalarAsync(ct))!;
            }

            return sum;
        }

        private async Task<long> WalAsync(CancellationToken ct)
        {
            await using var position = server.CreateCommand("SELECT (pg_current_wal_lsn() - '0/0')::bigint");
            return (long)(await position.ExecuteScalarAsync(ct))!;
        }
    }
}
