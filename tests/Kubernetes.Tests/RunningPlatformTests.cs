using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Crm.Contracts.Events;
using Crm.Runner;
using Crm.Testing;
using Npgsql;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Kubernetes.Tests;

/// <summary>What the manifests rely on, at the programs themselves.</summary>
[Collection(MeasuredPlatform.Collection)]
public sealed class RunningPlatformTests(MeasuredPlatform fixture)
{
    /// <summary>Metrics of others, which nobody here can ask: of CloudNativePG 1.25, cert-manager, kubelet, Prometheus.</summary>
    private static readonly HashSet<string> OfOthers = new(StringComparer.Ordinal)
    {
        "up",
        "cnpg_pg_stat_archiver_last_failed_time", "cnpg_pg_stat_archiver_last_archived_time", "cnpg_collector_pg_wal_archive_status", "cnpg_pg_replication_in_recovery",
        "cnpg_pg_replication_lag", "cnpg_pg_replication_streaming_replicas", "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
        "certmanager_certificate_expiration_timestamp_seconds",
        "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes",
    };

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_metric_that_a_rule_or_a_dashboard_names_is_exported()
    {
        using var partner = fixture.Platform.CreateClient();
        using var response = await partner.PostAsJsonAsync("v1/customers", new { kind = "person", given_name = "Measured", source = new { type = "enquiry" } }, Ct);
        Assert.Equal(HttpStatusCode.Created, response.StatusCode);
        var id = (string)(await response.Content.ReadFromJsonAsync<JsonObject>(Ct))!["id"]!;
        using var overview = await partner.GetAsync($"v1/customers/{id}/overview", Ct);
        using var nobody = await partner.GetAsync("v1/nothing", Ct);

        var used = PromQl.UsedMetrics().Where(u => IsBrokerMeasured || !u.Metric.StartsWith("rabbitmq_", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(used);
        HashSet<string> broker = [];
        string[] Missing() => [.. used.Where(u => !fixture.Series.ContainsKey(u.Metric) && !broker.Contains(u.Metric) && !OfOthers.Contains(u.Metric)).Select(u => $"{u.Place}: {u.Metric}").Order(StringComparer.Ordinal)];
        for (var i = 0; i < 120 && Missing().Length > 0; i++)
        {
            await Task.Delay(500, Ct);
            broker.UnionWith((await BrokerSeriesAsync()).Select(line => line.Split('{', ' ')[0]));
        }

        Assert.True(Missing().Length == 0, $"not exported:\n{string.Join('\n', Missing())}\n\nexported:\n{string.Join('\n', fixture.Series.Keys.Concat(broker).Order(StringComparer.Ordinal))}");
    }

    /// <summary>QueueWithoutConsumers goes by it: who has none must say 0, not nothing, and no queue of this name may be without one on purpose.</summary>
    [Fact]
    public async Task The_broker_counts_the_consumers_of_each_queue_and_says_none_where_a_service_is_away()
    {
        Assert.SkipUnless(IsBrokerMeasured, "This broker gives no metrics.");
        var queues = EventCatalog.All.SelectMany(r => r.Queues).Distinct(StringComparer.Ordinal).ToList();
        await Eventually.GetAsync(ConsumersAsync, counted => queues.All(counted.ContainsKey) && counted.Values.All(c => c > 0), ct: Ct);
        var support = fixture.Platform["support"];
        // It would drain first.
        await support.KillAsync();
        try
        {
            await Eventually.GetAsync(ConsumersAsync, counted => queues.All(counted.ContainsKey) && counted.All(c => (c.Value == 0) == c.Key.StartsWith("crm.support.", StringComparison.Ordinal)), ct: Ct);
        }
        finally
        {
            await support.StartAsync(ct: Ct);
        }

        await Eventually.GetAsync(ConsumersAsync, counted => queues.All(counted.ContainsKey) && counted.Values.All(c => c > 0), ct: Ct);

        // rabbitmq_detailed_queue_consumers{vhost="crm",queue="crm.support.customer-copy"} 1
        async Task<Dictionary<string, double>> ConsumersAsync() => (await BrokerSeriesAsync())
            .Where(line => line.StartsWith("rabbitmq_detailed_queue_consumers{", StringComparison.Ordinal) && line.Contains("queue=\"crm.", StringComparison.Ordinal))
            .ToDictionary(line => line.Split("queue=\"")[1].Split('"')[0], line => double.TryParse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture, out var count) ? count : double.NaN, StringComparer.Ordinal);
    }

    [Fact]
    public async Task Every_program_says_that_its_database_answers_and_how_far_its_clock_is_from_it()
    {
        foreach (var service in fixture.Platform.Topology.Services)
        {
            await DatabaseAsync(service.Name, 1);
            // Both are this machine's.
            await Eventually.GetAsync(() => Task.FromResult(fixture.Last(service.Name, "crm_clock_offset_seconds")?.Value), offset => offset is > -1 and < 1, ct: Ct);
        }
    }

    [Fact]
    public async Task A_clock_that_differs_from_the_databases_shows_by_how_much_and_a_database_that_is_away_shows_instead_of_a_clock()
    {
        var support = fixture.Platform["support"];
        await using var database = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("support"));
        // Another clock of the database, which new connections find before its own.
        await ExecuteAsync("CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() - interval '10 minutes' $$");
        await RestartWithAsync("SET search_path = public, pg_catalog");
        try
        {
            await Eventually.GetAsync(() => Task.FromResult(fixture.Last("support", "crm_clock_offset_seconds")?.Value), offset => offset is > 599 and < 601, ct: Ct);

            var postgres = fixture.Platform.Postgres!.Process;
            await postgres.FreezeAsync();
            try
            {
                // Exports go on, every second, without it.
                await Eventually.GetAsync(
                    () => Task.FromResult(fixture.Last("support", "crm_database_up")!.At - fixture.Last("support", "crm_clock_offset_seconds")!.At),
                    behind => behind > TimeSpan.FromSeconds(5), ct: Ct);
                foreach (var service in fixture.Platform.Topology.Services)
                {
                    await DatabaseAsync(service.Name, 0);
                }
            }
            finally
            {
                await postgres.ThawAsync();
            }
        }
        finally
        {
            await ExecuteAsync("DROP FUNCTION public.clock_timestamp()");
            await RestartWithAsync("RESET search_path");
        }

        await Eventually.GetAsync(() => Task.FromResult(fixture.Last("support", "crm_clock_offset_seconds")?.Value), offset => offset is > -1 and < 1, ct: Ct);
        foreach (var service in fixture.Platform.Topology.Services)
        {
            await DatabaseAsync(service.Name, 1);
        }

        async Task RestartWithAsync(string setting)
        {
            await ExecuteAsync($"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {setting}', current_database()); END $$");
            // It would drain first.
            await support.KillAsync();
            await support.StartAsync(ct: Ct);
        }

        async Task ExecuteAsync(string sql)
        {
            await using var command = database.CreateCommand(sql);
            await command.ExecuteNonQueryAsync(Ct);
        }
    }

    [Fact]
    public async Task A_metric_has_the_labels_by_which_its_pod_is_found()
    {
        string[] labels = ["service_name", "service_instance_id", "k8s_pod_name", "k8s_node_name"];
        await Eventually.GetAsync(() => Task.FromResult(fixture.Series.GetValueOrDefault("crm_database_up")), found => found is not null && labels.All(found.Contains), ct: Ct);
    }

    /// <summary>Not where it is a container.</summary>
    private bool IsBrokerMeasured => fixture.Platform.RabbitMq?.Metrics is not null;

    /// <summary>What Prometheus reads of the broker with the settings that it has in a cluster, a line a series.</summary>
    private async Task<IReadOnlyList<string>> BrokerSeriesAsync()
    {
        if (fixture.Platform.RabbitMq?.Metrics is not { } address)
        {
            return [];
        }

        using var http = new HttpClient { BaseAddress = address };
        var lines = new List<string>();
        foreach (var name in new[] { "rabbitmq", "rabbitmq-queues" })
        {
            var job = await RulesTests.JobAsync(name);
            var query = new List<string>();
            if (job["params"] is JsonObject parameters)
            {
                query.AddRange(parameters.SelectMany(p => p.Value!.AsArray().Select(v => $"{p.Key}={(string)v!}")));
            }

            var path = (string?)job["metrics_path"] ?? "/metrics";
            var text = await http.GetStringAsync(new Uri($"{path}?{string.Join('&', query)}", UriKind.Relative), Ct);
            lines.AddRange(text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line[0] != '#'));
        }

        return lines;
    }

    /// <summary>Until the program says that its database answers, 1, or does not, 0.</summary>
    private Task<double?> DatabaseAsync(string service, double expected) =>
        Eventually.GetAsync(() => Task.FromResult(fixture.Last(service, "crm_database_up")?.Value), up => up == expected, ct: Ct);

    [Fact]
    public async Task A_process_that_is_asked_to_stop_is_not_ready_still_answers_and_sends_its_callers_away()
    {
        var support = fixture.Platform["support"];
        var connections = 0;
        using var handler = new SocketsHttpHandler { ConnectCallback = ConnectAsync };
        using var http2 = new HttpClient(handler) { BaseAddress = support.GrpcAddress, DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using var http = new HttpClient { BaseAddress = support.HttpAddress };
        using var before = await http.GetAsync("v1/cases", Ct);
        Assert.NotEqual(true, before.Headers.ConnectionClose);
        for (var i = 0; i < 3; i++)
        {
            using var answer = await http2.GetAsync("v1/cases", Ct);
        }

        Assert.Equal(1, connections);
        var stopping = support.StopAsync();
        try
        {
            await Eventually.GetAsync(async () => (await http.GetAsync("health/ready", Ct)).StatusCode, s => s == HttpStatusCode.ServiceUnavailable, TimeSpan.FromSeconds(15), Ct);
            for (var i = 0; i < 10; i++)
            {
                using var answer = await http.GetAsync("v1/cases", Ct);
                Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
                Assert.True(answer.Headers.ConnectionClose);
                using var multiplexed = await http2.GetAsync("v1/cases", Ct);
                Assert.Equal(HttpStatusCode.Unauthorized, multiplexed.StatusCode);
                await Task.Delay(200, Ct);
            }

            // GOAWAY: the first may still go over the connection that was there, and whoever is quicker than it over one more.
            Assert.InRange(connections, 5, 11);
            Assert.True(await stopping, "It did not end by itself.");
        }
        finally
        {
            await support.StartAsync(ct: Ct);
        }

        async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken ct)
        {
            Interlocked.Increment(ref connections);
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(context.DnsEndPoint, ct);
            return new NetworkStream(socket, ownsSocket: true);
        }
    }

    [Fact]
    public async Task A_service_whose_connections_are_all_taken_is_ready_all_the_same()
    {
        const int Pool = 5;
        var support = fixture.Platform["support"];
        var whole = await fixture.Platform.ConnectionStringAsync("support");
        await UseAsync($"{whole};Maximum Pool Size={Pool}");
        try
        {
            using var partner = fixture.Platform.CreateClient();
            await using var database = NpgsqlDataSource.Create(whole);
            await using var connection = await database.OpenConnectionAsync(Ct);
            List<Task<HttpResponseMessage>> reads;
            await using (var transaction = await connection.BeginTransactionAsync(Ct))
            {
                await using var hold = new NpgsqlCommand("LOCK TABLE cases", connection);
                await hold.ExecuteNonQueryAsync(Ct);
                reads = [.. Enumerable.Range(0, 2 * Pool).Select(_ => partner.GetAsync("v1/cases?limit=1", Ct))];
                // Not in the transaction, which sees the activity of its beginning.
                await using var waiting = database.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
                await Eventually.GetAsync(async () => (long)(await waiting.ExecuteScalarAsync(Ct))!, count => count == Pool, ct: Ct);
                using var kubelet = new HttpClient { BaseAddress = support.HttpAddress, Timeout = TimeSpan.FromSeconds(10) };
                await Eventually.GetAsync(
                    async () =>
                    {
                        using var ready = await kubelet.GetAsync("health/ready", Ct);
                        return ready.StatusCode;
                    },
                    status => status == HttpStatusCode.OK, TimeSpan.FromSeconds(30), Ct);
                // And all of them were still taken.
                Assert.Equal((long)Pool, await waiting.ExecuteScalarAsync(Ct));
            }

            foreach (var answer in await Task.WhenAll(reads))
            {
                answer.Dispose();
            }
        }
        finally
        {
            await UseAsync(whole);
        }

        async Task UseAsync(string connectionString)
        {
            await fixture.Platform.Secrets.WriteAsync("support", "ConnectionStrings__Database", connectionString);
            // It would drain first.
            await support.KillAsync();
            await support.StartAsync(ct: Ct);
        }
    }

    [Fact]
    public async Task The_smoke_test_of_an_installation_passes_leaves_no_customer_and_names_the_step_that_fails()
    {
        var script = Path.Combine(Manifests.Folder, "smoke-test.sh");
        var address = fixture.Platform.GatewayAddress.ToString();
        var passed = await Shell.RunAsync(["sh", script, address], new Dictionary<string, string?> { ["CRM_API_KEY"] = fixture.Platform.AdminKey }, ct: Ct);
        Assert.True(passed.ExitCode == 0, passed.Output);
        Assert.Matches("All is well: trace [0-9a-f]{32}\n", passed.Output);
        Assert.Equal(8, passed.Output.Split('\n').Count(l => l.StartsWith("ok: ", StringComparison.Ordinal)));
        Assert.DoesNotContain(fixture.Platform.AdminKey, passed.Output, StringComparison.Ordinal);
        Assert.Equal(0L, await CountAsync());

        // A key that may not open cases: what was made until then is erased all the same.
        var key = await fixture.Platform.CreateKeyAsync("smoke", ["customers:read", "customers:write", "erasures:read", "erasures:write", "interactions:read", "campaigns:read", "billing:read", "cases:read"], Ct);
        var failed = await Shell.RunAsync(["sh", script, address], new Dictionary<string, string?> { ["CRM_API_KEY"] = key }, ct: Ct);
        Assert.Equal(1, failed.ExitCode);
        Assert.Contains("FAILED to open a case: POST v1/cases answered 403", failed.Output, StringComparison.Ordinal);
        Assert.Matches("trace [0-9a-f]{32}\n", failed.Output);
        await Eventually.GetAsync(CountAsync, count => count == 0, ct: Ct);

        var nobody = await Shell.RunAsync(["sh", script, "http://127.0.0.1:1"], new Dictionary<string, string?> { ["CRM_API_KEY"] = key, ["CRM_SMOKE_SECONDS"] = "1" }, ct: Ct);
        Assert.Equal(1, nobody.ExitCode);
        Assert.Contains("FAILED to find the gateway ready", nobody.Output, StringComparison.Ordinal);

        async Task<long> CountAsync()
        {
            await using var contacts = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync("contacts"));
            await using var command = contacts.CreateCommand("SELECT count(*) FROM customers WHERE given_name = 'Smoke'");
            return (long)(await command.ExecuteScalarAsync(Ct))!;
        }
    }

    [Fact]
    public async Task With_the_rights_that_the_script_gives_them_the_broker_users_do_all_their_work_and_no_others()
    {
        var (_, folder) = await SettingsTests.MakeSecretsAsync("trial");
        await fixture.Platform.RabbitMq!.ImportDefinitionsAsync(Path.Combine(folder, "definitions.json"), Ct);
        var own = new Uri(fixture.Platform.BusUri);
        var services = fixture.Platform.Topology.Services.Select(s => s.Name).Where(n => n != "gateway").ToList();
        try
        {
            await UseAsync(name => $"amqp://{name}:{File.ReadAllText(Path.Combine(folder, $"rabbitmq-{name}"))}@{own.Authority}/crm");
            var smoke = await fixture.Platform["gateway"].RunModeAsync(["--smoke-test", fixture.Platform.GatewayAddress.ToString()], Ct);
            Assert.True(smoke.ExitCode == 0, smoke.Output);
            await ReplayAsync("interactions", "crm.interactions.timeline");

            var factory = new ConnectionFactory
            {
                HostName = own.Host, Port = own.Port, VirtualHost = "crm", UserName = "support", Password = await File.ReadAllTextAsync(Path.Combine(folder, "rabbitmq-support"), Ct),
            };
            await using var connection = await factory.CreateConnectionAsync(Ct);
            // Another's queue, a queue of another's name, and an event of another's. A refusal closes the channel.
            await RefusedAsync(channel => channel.BasicGetAsync("crm.contacts.orders", autoAck: false, Ct));
            await RefusedAsync(channel => channel.QueueDeclareAsync("crm.contacts.orders", durable: true, exclusive: false, autoDelete: false, cancellationToken: Ct));
            await RefusedAsync(channel => channel.ExchangeBindAsync("crm.contacts.customers-erased.v1", "crm.support.case-changed.v1", "", cancellationToken: Ct));

            async Task RefusedAsync(Func<IChannel, Task> attempt)
            {
                await using var channel = await connection.CreateChannelAsync(cancellationToken: Ct);
                var refused = await Assert.ThrowsAsync<OperationInterruptedException>(() => attempt(channel));
                Assert.Equal(403, refused.ShutdownReason!.ReplyCode);
            }
        }
        finally
        {
            await UseAsync(_ => own.OriginalString);
        }

        async Task UseAsync(Func<string, string> uri)
        {
            foreach (var name in services)
            {
                await fixture.Platform.Secrets.WriteAsync(name, "Bus__Uri", uri(name));
                await (name == "support" ? fixture.Platform[name].KillAsync() : fixture.Platform[name].StopAsync());
            }

            await Task.WhenAll(services.Select(name => fixture.Platform[name].StartAsync(ct: Ct)));
        }

        // What nobody can read comes onto the list; put back it leaves it, and refused again it is on it anew.
        async Task ReplayAsync(string service, string queue)
        {
            var unreadable = Guid.CreateVersion7();
            await using (var connection = await new ConnectionFactory { Uri = own }.CreateConnectionAsync(Ct))
            await using (var channel = await connection.CreateChannelAsync(cancellationToken: Ct))
            {
                await channel.BasicPublishAsync("", queue, mandatory: true,
                    new BasicProperties { MessageId = unreadable.ToString(), ContentType = "application/vnd.masstransit+json" }, "not JSON"u8.ToArray(), Ct);
            }

            await using var database = NpgsqlDataSource.Create(await fixture.Platform.ConnectionStringAsync(service));
            var listed = await ListedAsync(id => id is not null);
            var replay = await fixture.Platform[service].RunModeAsync(["--dead-letters", "replay", listed!], Ct);
            Assert.Contains("replay asked for 1", replay.Output, StringComparison.Ordinal);
            await ListedAsync(id => id is not null && id != listed);

            Task<string?> ListedAsync(Func<string?, bool> expected) => Eventually.GetAsync(
                async () =>
                {
                    await using var command = database.CreateCommand($"SELECT id::text FROM dead_letter WHERE message_id = '{unreadable}'");
                    return (string?)await command.ExecuteScalarAsync(Ct);
                },
                expected,
                ct: Ct);
        }
    }
}
