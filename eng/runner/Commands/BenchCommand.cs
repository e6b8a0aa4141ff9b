using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using Crm.Runner.Bench;
using Npgsql;
using RabbitMQ.Client;

namespace Crm.Runner.Commands;

/// <summary>
/// Measures the platform beside the limits of this machine, all in one run and in turns, and prints the table of the
/// README's section "Numbers". Figures of different machines do not compare; the ratios do.
/// </summary>
internal static partial class BenchCommand
{
    private const int Rounds = 3;
    private const int EventSamples = 300;
    private static readonly TimeSpan RoundTime = TimeSpan.FromSeconds(4);
    private static readonly int[] Clients = [1, 8];
    private static readonly string[] Copies = ["interactions", "campaigns", "billing-sync", "support"];

    public static async Task<int> RunAsync(string[] args, CancellationToken ct)
    {
        switch (args)
        {
            case []:
                break;
            case ["--only", "import", .. var rest]:
                return await ImportBench.RunAsync(Rows(rest, ImportBench.DefaultRows), ct);
            case ["--only", "duplicates", .. var rest]:
                return await DuplicatesBench.RunAsync(Rows(rest, DuplicatesBench.DefaultRows), ct);
            case ["--only", "merge", .. var rest]:
                return await MergeBench.RunAsync(Rows(rest, MergeBench.DefaultRows), ct);
            case ["--profile", .. var rest]:
                return await ProfileBench.RunAsync(rest, ct);
            default:
                throw NotUnderstood();
        }

        var progress = new Progress();
        await Build.Programs(Topology.Load(Topology.FindRoot())).RunAsync(progress.Step, ct);
        await using var platform = await Platform.StartAsync("bench", progress: progress.Step, durable: true, ct: ct);
        var port = FreePort.Next();
        var bare = OwnedProcess.Start(new ProcessSpec
        {
            Name = "bare endpoint",
            Command = ["dotnet", typeof(BenchCommand).Assembly.Location, "bare-endpoint", port.ToString(CultureInfo.InvariantCulture)],
            LogFile = platform.LogFile("bare-endpoint"),
            EndWithCaller = true,
        });

        using var gateway = platform.CreateClient();
        using var service = Client(platform["contacts"].HttpAddress);
        var key = await File.ReadAllTextAsync(Path.Combine(platform.Secrets.FolderOf("gateway"), "Auth__PrivateKey"), ct);
        service.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", GatewayToken.Mint(key, Platform.PartnerScopes, TimeSpan.FromHours(1)));
        using var endpoint = Client(new Uri($"http://127.0.0.1:{port}/"));
        await UntilAnsweredAsync(endpoint, ct);

        progress.Step("bench", "warming up");
        foreach (var client in (HttpClient[])[gateway, service, endpoint])
            await Measure.LoopAsync(4, TimeSpan.FromSeconds(3), token => CreateAsync(client, token), ct);

        var creates = new Dictionary<(string Way, int Clients), List<Series>>();
        for (var round = 1; round <= Rounds; round++)
        {
            progress.Step("bench", $"creates, round {round} of {Rounds}");
            foreach (var clients in Clients)
            {
                foreach (var (way, client) in ((string, HttpClient)[])[("gateway", gateway), ("service", service), ("bare", endpoint)])
                {
                    if (!creates.TryGetValue((way, clients), out var series))
                        creates[(way, clients)] = series = [];
                    series.Add(await Measure.LoopAsync(clients, RoundTime, token => CreateAsync(client, token), ct));
                    // What the creates left to do must not be done in the next one's time.
                    await UntilDrainedAsync(platform, ct);
                }
            }
        }

        progress.Step("bench", "events, from the answer to all four copies");
        var events = await EventsAsync(platform, gateway, ct);
        progress.Step("bench", "pgbench");
        var inserts = new Dictionary<int, double>();
        foreach (var clients in Clients)
            inserts[clients] = await PgbenchAsync(platform, clients, ct);
        progress.Step("bench", "publisher confirms");
        var confirms = new Dictionary<int, double>();
        foreach (var inFlight in Clients)
            confirms[inFlight] = await ConfirmsAsync(platform.BusUri, inFlight, ct);
        await bare.KillAsync();

        Print(creates.ToDictionary(c => c.Key, c => Series.Median(c.Value)), events, inserts, confirms);
        return 0;
    }

    private static int Rows(string[] args, int otherwise) => args switch
    {
        [] => otherwise,
        ["--rows", var text] when int.TryParse(text, CultureInfo.InvariantCulture, out var rows) && rows > 0 => rows,
        _ => throw NotUnderstood(),
    };

    private static RunnerException NotUnderstood() => new("bench does not understand that.", "Write: ./crm bench [--only import|merge|duplicates [--rows N]], or: ./crm bench --profile");

    private static void Print(Dictionary<(string Way, int Clients), Series> creates, Series events, Dictionary<int, double> inserts, Dictionary<int, double> confirms)
    {
        var rows = new List<string>();
        foreach (var clients in Clients)
        {
            var (viaGateway, straight, bare) = (creates[("gateway", clients)], creates[("service", clients)], creates[("bare", clients)]);
            rows.Add(Row($"`POST /v1/customers` through the gateway, {Plural(clients)}", viaGateway, viaGateway.PerSecond / bare.PerSecond));
            rows.Add(Row($"the same straight to Contacts, {Plural(clients)}", straight, straight.PerSecond / bare.PerSecond));
            rows.Add(string.Create(CultureInfo.InvariantCulture, $"| the gateway's share of the time, {Plural(clients)} | {1 - (viaGateway.PerSecond / straight.PerSecond):0%} | {viaGateway.P50 - straight.P50:+0.0;-0.0} ms | {viaGateway.P99 - straight.P99:+0.0;-0.0} ms | |"));
            rows.Add(Row($"limit: a bare Kestrel endpoint, {Plural(clients)}", bare, 1));
            rows.Add(string.Create(CultureInfo.InvariantCulture, $"| limit: `INSERT` of the same row by pgbench, {Plural(clients)} | {inserts[clients]:n0} | | | {inserts[clients] / bare.PerSecond:0.0000} |"));
            rows.Add(string.Create(CultureInfo.InvariantCulture, $"| limit: publisher confirms of the broker, {clients} in flight | {confirms[clients]:n0} | | | {confirms[clients] / bare.PerSecond:0.0000} |"));
        }

        rows.Add(string.Create(CultureInfo.InvariantCulture, $"| event: from the create's answer to visible in all four copies | | {events.P50:0.0} ms | {events.P99:0.0} ms | |"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""

            {DateTime.UtcNow:yyyy-MM-dd}, {Environment.ProcessorCount} cores for everything, .NET {Environment.Version}, median of {Rounds} rounds in turns of {RoundTime.TotalSeconds:0} s, fsync on

            | what | per second | p50 | p99 | share of bare Kestrel |
            |---|---|---|---|---|
            {string.Join('\n', rows)}
            """));

        static string Row(string what, Series s, double share) =>
            string.Create(CultureInfo.InvariantCulture, $"| {what} | {s.PerSecond:n0} | {s.P50:0.0} ms | {s.P99:0.0} ms | {share:0.0000} |");

        static string Plural(int clients) => clients == 1 ? "1 client" : $"{clients} clients";
    }

    private static HttpClient Client(Uri address) => new(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = address };

    private static async Task CreateAsync(HttpClient client, CancellationToken ct)
    {
        using var response = await client.PostAsJsonAsync("v1/customers", Body(Guid.NewGuid().ToString("n")), ct);
        response.EnsureSuccessStatusCode();
    }

    private static object Body(string unique) => new
    {
        kind = "person",
        given_name = "Ada",
        family_name = unique[..8],
        emails = new[] { new { address = $"{unique}@customers.example", type = "work", primary = true } },
        addresses = new[] { new { lines = new[] { "12 St James's Sq" }, city = "London", postal_code = "SW1Y 4JH", country = "GB" } },
        locale = "en-GB",
        time_zone = "Europe/London",
        source = new { type = "enquiry" },
    };

    private static async Task<Series> EventsAsync(Platform platform, HttpClient gateway, CancellationToken ct)
    {
        var connections = new List<NpgsqlConnection>();
        foreach (var copy in Copies)
        {
            var connection = new NpgsqlConnection(await platform.ConnectionStringAsync(copy));
            await connection.OpenAsync(ct);
            connections.Add(connection);
        }

        var latencies = new List<double>();
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < EventSamples; i++)
        {
            using var response = await gateway.PostAsJsonAsync("v1/customers", Body(Guid.NewGuid().ToString("n")), ct);
            response.EnsureSuccessStatusCode();
            var committed = Stopwatch.GetTimestamp();
            var id = PublicIds.Parse((await response.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("id").GetString()!);
            await Task.WhenAll(connections.Select(async connection =>
            {
                await using var command = new NpgsqlCommand("SELECT EXISTS (SELECT 1 FROM customers WHERE id = @id)", connection);
                command.Parameters.AddWithValue("id", id);
                while (await command.ExecuteScalarAsync(ct) is not true)
                    await Task.Delay(1, ct);
            }));
            latencies.Add(Stopwatch.GetElapsedTime(committed).TotalMilliseconds);
        }

        foreach (var connection in connections)
            await connection.DisposeAsync();
        return Series.Of(latencies, Stopwatch.GetElapsedTime(start));
    }

    private static async Task<double> PgbenchAsync(Platform platform, int clients, CancellationToken ct)
    {
        var script = Path.Combine(platform.Folder, "insert.sql");
        await File.WriteAllTextAsync(script, """
            INSERT INTO customers (id, version, event_sequence, kind, given_name, family_name, display_name, search_name, emails, phones, addresses,
                locale, time_zone, lifecycle, source_type, tier, attributes, state, created_at, updated_at)
            SELECT gen_random_uuid(), 1, 1, 'person', 'Ada', u, 'Ada ' || u, 'ada ' || u,
                jsonb_build_array(jsonb_build_object('address', u || '@customers.example', 'type', 'work', 'primary', true)), '[]',
                '[{"lines":["12 St James''s Sq"],"city":"London","postal_code":"SW1Y 4JH","country":"GB","type":"other","primary": true}]',
                'en-GB', 'Europe/London', 'prospect', 'enquiry', 'standard', '{}', 'active', now(), now()
            FROM (SELECT left(gen_random_uuid()::text, 8) AS u) AS r;
            """, ct);
        var connection = new NpgsqlConnectionStringBuilder(await platform.ConnectionStringAsync("contacts"));
        var result = await Shell.RunAsync(
            [PrivatePostgres.Program("pgbench"), "-n", "-M", "prepared", "-f", script, "-c", $"{clients}", "-j", $"{Math.Min(clients, 2)}", "-T", $"{RoundTime.TotalSeconds:0}",
                "-h", connection.Host!, "-p", $"{connection.Port}", "-U", connection.Username!, connection.Database!],
            new Dictionary<string, string?> { ["PGPASSWORD"] = connection.Password }, ct: ct);
        var tps = TransactionsPerSecond().Match(result.Output);
        return tps.Success ? double.Parse(tps.Groups["tps"].Value, CultureInfo.InvariantCulture) : throw new RunnerException($"pgbench failed:\n{result.Output}", "");
    }

    private static async Task<double> ConfirmsAsync(string uri, int inFlight, CancellationToken ct)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(uri) }.CreateConnectionAsync(ct);
        await using var setup = await connection.CreateChannelAsync(cancellationToken: ct);
        await setup.QueueDeclareAsync("bench.confirms", durable: true, exclusive: false, autoDelete: true, cancellationToken: ct);
        var channels = new System.Collections.Concurrent.ConcurrentBag<IChannel>();
        for (var i = 0; i < inFlight; i++)
            channels.Add(await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), ct));
        var body = new byte[900];
        var properties = new BasicProperties { Persistent = true };
        var series = await Measure.LoopAsync(inFlight, RoundTime, async token =>
        {
            channels.TryTake(out var channel);
            await channel!.BasicPublishAsync("", "bench.confirms", mandatory: true, properties, body, token);
            channels.Add(channel);
        }, ct);
        await setup.QueueDeleteAsync("bench.confirms", cancellationToken: ct);
        foreach (var channel in channels)
            await channel.DisposeAsync();
        return series.PerSecond;
    }

    private static async Task UntilDrainedAsync(Platform platform, CancellationToken ct)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(platform.BusUri) }.CreateConnectionAsync(ct);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: ct);
        await using var contacts = NpgsqlDataSource.Create(await platform.ConnectionStringAsync("contacts"));
        while (true)
        {
            var pending = (long)(await contacts.CreateCommand("SELECT count(*) FROM outbox").ExecuteScalarAsync(ct))!;
            foreach (var copy in Copies)
                pending += await channel.MessageCountAsync($"crm.{copy}.customer-copy", ct);
            if (pending == 0)
                return;
            await Task.Delay(100, ct);
        }
    }

    private static async Task UntilAnsweredAsync(HttpClient client, CancellationToken ct)
    {
        for (var i = 0; i < 100; i++)
        {
            try
            {
                (await client.GetAsync("health/ready", ct)).Dispose();
                return;
            }
            catch (HttpRequestException)
            {
                await Task.Delay(100, ct);
            }
        }
    }

    [GeneratedRegex(@"^tps = (?<tps>[0-9.]+)", RegexOptions.Multiline, 10_000)]
    private static partial Regex TransactionsPerSecond();
}
