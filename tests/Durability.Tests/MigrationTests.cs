using Crm.Runner;
using Crm.Testing;
using Npgsql;

namespace Durability.Tests;

/// <summary>Migrations as they go wrong, on a server of their own; of Contacts, which has most of them.</summary>
public sealed class MigrationTests : IAsyncLifetime
{
    private const int NotMigrated = 78;

    private const string Waiting = "The migrations wait for the database";

    private Crm.Runner.Platform _platform = null!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private ServiceProcess Contacts => _platform["contacts"];

    public async ValueTask InitializeAsync()
    {
        var topology = Topology.Load(Topology.FindRoot());
        _platform = new(new PlatformOptions
        {
            Topology = topology, Folder = Reaper.TemporaryFolder("migrations"), Ports = PortMap.Free(topology), EndWithCaller = true, Durable = false, Only = ["contacts"],
        });
        _platform.RequireBuilt();
        await _platform.StartPostgresAsync(Ct);
        await _platform.CreateDatabasesAsync(Ct);
        await _platform.WriteKeysAsync();
        await _platform.WriteConnectionsAsync();
    }

    public ValueTask DisposeAsync() => _platform.DisposeAsync();

    [Fact]
    public async Task A_migration_that_is_killed_half_way_resumes_and_comes_to_the_same_schema()
    {
        Assert.Equal(0, (await Contacts.RunModeAsync(["--migrate"], Ct)).ExitCode);
        var (wanted, all) = (await SchemaAsync(), await AppliedAsync());
        await ExecuteAsync("postgres", "DROP DATABASE contacts WITH (FORCE)");
        await _platform.CreateDatabasesAsync(Ct);
        // Met in the middle: when so many are applied, the next one stands still after its first statement.
        await ExecuteAsync("contacts", """
            CREATE SCHEMA test;
            CREATE TABLE test.stop (applied bigint);
            INSERT INTO test.stop VALUES (0);
            CREATE FUNCTION test.wait() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
                IF (SELECT count(*) FROM public.schema_migration) >= (SELECT applied FROM test.stop) THEN
                    PERFORM pg_sleep(3600);
                END IF;
            END $$;
            CREATE EVENT TRIGGER wait ON ddl_command_end EXECUTE FUNCTION test.wait();
            """);

        for (var kill = 1; kill <= 3; kill++)
        {
            await ExecuteAsync("contacts", "UPDATE test.stop SET applied = applied + 3");
            var migrating = OwnedProcess.Start(new ProcessSpec
            {
                Name = "contacts", Command = [.. Contacts.Command, "--migrate"], LogFile = _platform.LogFile($"migrate-{kill}"), Environment = Contacts.Environment, EndWithCaller = true,
            });
            await Eventually.GetAsync(
                () => ReadAsync("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"), asleep => asleep.Count > 0, TimeSpan.FromMinutes(2), Ct);
            await migrating.KillAsync();
            // The server sees only afterwards that nobody is there any more.
            await ExecuteAsync("contacts", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'");
            Assert.InRange((await AppliedAsync()).Count, 3 * kill, all.Count - 1);
        }

        await ExecuteAsync("contacts", "DROP EVENT TRIGGER wait; DROP SCHEMA test CASCADE");
        // Two pods at once, as in a rollout.
        var both = await Task.WhenAll(Contacts.RunModeAsync(["--migrate"], Ct), Contacts.RunModeAsync(["--migrate"], Ct));
        Assert.All(both, run => Assert.True(run.ExitCode == 0, run.Output));
        Assert.Equal(all, await AppliedAsync());
        Assert.Equal(wanted, await SchemaAsync());
        await Contacts.StartAsync(ct: Ct);
    }

    [Fact]
    public async Task A_service_does_not_start_without_its_migrations_and_says_which_are_missing()
    {
        var started = await StartAsync();
        Assert.Equal(NotMigrated, started.ExitCode);
        Assert.Contains("service/0001_customers", started.Output, StringComparison.Ordinal);
        Assert.Contains("--migrate", started.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_failed_migration_is_named_keeps_the_service_from_starting_and_goes_on_when_its_cause_is_gone()
    {
        await ExecuteAsync("contacts", "CREATE TABLE recycle_bin_of_somebody (id int); CREATE VIEW tiers AS SELECT * FROM recycle_bin_of_somebody");
        var migrated = await Contacts.RunModeAsync(["--migrate"], Ct);
        Assert.Equal(1, migrated.ExitCode);
        Assert.Contains("Migration service/0013_tiers failed, and nothing of it was kept: 42P07", migrated.Output, StringComparison.Ordinal);
        var applied = await AppliedAsync();
        Assert.Contains("service/0012_account_managers", applied);
        Assert.DoesNotContain("service/0013_tiers", applied);

        var started = await StartAsync();
        Assert.Equal(NotMigrated, started.ExitCode);
        Assert.Contains("service/0013_tiers", started.Output, StringComparison.Ordinal);

        await ExecuteAsync("contacts", "DROP VIEW tiers; DROP TABLE recycle_bin_of_somebody");
        Assert.Equal(0, (await Contacts.RunModeAsync(["--migrate"], Ct)).ExitCode);
        await Contacts.StartAsync(ct: Ct);
    }

    [Fact]
    public async Task A_migration_lets_pass_whoever_waits_behind_it_for_a_table_in_use()
    {
        Assert.Equal(0, (await Contacts.RunModeAsync(["--migrate"], Ct)).ExitCode);
        // As if the last one was still to come.
        await ExecuteAsync("contacts", """
            DELETE FROM schema_migration WHERE (module, name) = ('service', '0015_order_amounts');
            ALTER TABLE placed_orders DROP COLUMN total_minor, DROP COLUMN currency
            """);
        await using var database = NpgsqlDataSource.Create(await _platform.ConnectionStringAsync("contacts"));
        await using var reader = await database.OpenConnectionAsync(Ct);
        await using var reading = await reader.BeginTransactionAsync(Ct);
        await using (var read = new NpgsqlCommand("SELECT count(*) FROM placed_orders", reader))
        {
            await read.ExecuteScalarAsync(Ct);
        }

        var migrating = Contacts.RunModeAsync(["--migrate"], Ct);
        await using var waiting = database.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
        await Eventually.GetAsync(async () => (long)(await waiting.ExecuteScalarAsync(Ct))!, count => count > 0, TimeSpan.FromMinutes(1), Ct);
        await using var behind = database.CreateCommand("SELECT count(*) FROM placed_orders");
        behind.CommandTimeout = 10;
        Assert.Equal(0L, await behind.ExecuteScalarAsync(Ct));
        Assert.False(migrating.IsCompleted);

        await reading.RollbackAsync(Ct);
        Assert.Equal(0, (await migrating).ExitCode);
    }

    [Fact]
    public async Task Migrations_wait_for_a_server_that_takes_no_connection_yet_and_run_when_it_does()
    {
        // What it says (53300) is said in this place of a server that starts (57P03) as well.
        await ExecuteAsync("postgres", "ALTER DATABASE contacts CONNECTION LIMIT 0");
        var migrating = OwnedProcess.Start(new ProcessSpec
        {
            Name = "contacts", Command = [.. Contacts.Command, "--migrate"], LogFile = _platform.LogFile("migrate-waits"), Environment = Contacts.Environment, EndWithCaller = true,
        });
        await Eventually.GetAsync(() => Task.FromResult(migrating.LogTail()), log => log.Contains(Waiting, StringComparison.Ordinal), TimeSpan.FromMinutes(2), Ct);
        Assert.True(migrating.IsAlive);

        await ExecuteAsync("postgres", "ALTER DATABASE contacts CONNECTION LIMIT -1");
        Assert.True(await migrating.WaitForExitAsync(TimeSpan.FromMinutes(2)));
        // It lacks none, so they were all applied.
        Assert.Contains("\n0 of ", (await CheckAsync()).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Migrations_give_up_a_server_that_stays_away_and_wait_for_none_that_refuses_them()
    {
        var environment = new Dictionary<string, string?>(Contacts.Environment)
        {
            ["CRM_SECRETS"] = null,
            ["ConnectionStrings__Database"] = $"Host=127.0.0.1;Port={FreePort.Next()};Database=contacts;Username=contacts;Password=x",
            ["Database__MigrationWaitSeconds"] = "2",
        };
        var away = await Shell.RunAsync([.. Contacts.Command, "--migrate"], environment, _platform.Folder, Ct);
        Assert.Equal(1, away.ExitCode);
        Assert.Contains(Waiting, away.Output, StringComparison.Ordinal);

        environment["ConnectionStrings__Database"] = "Host=nowhere.invalid;Database=contacts;Username=contacts;Password=x";
        var unknown = await Shell.RunAsync([.. Contacts.Command, "--migrate"], environment, _platform.Folder, Ct);
        Assert.Equal(1, unknown.ExitCode);
        Assert.Contains(Waiting, unknown.Output, StringComparison.Ordinal);

        await ExecuteAsync("postgres", "ALTER ROLE contacts PASSWORD 'another'");
        var refused = await Contacts.RunModeAsync(["--migrate"], Ct);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("28P01", refused.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(Waiting, refused.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_check_says_what_is_pending_and_what_it_asks_of_tables_and_changes_nothing()
    {
        var empty = await CheckAsync();
        Assert.True(empty.ExitCode == 0, empty.Output);
        Assert.Matches("PostgreSQL [0-9.]+.*, database contacts as contacts, no TLS, UTF8, ", empty.Output);
        // Without a table there is nothing to wait for.
        Assert.Contains("pending: service/0009_acquisition_sources\n", empty.Output, StringComparison.Ordinal);
        Assert.Empty(await SchemaAsync());

        Assert.Equal(0, (await Contacts.RunModeAsync(["--migrate"], Ct)).ExitCode);
        var all = (await AppliedAsync()).Count;
        Assert.Contains($"0 of {all} migrations are pending", (await CheckAsync()).Output, StringComparison.Ordinal);
        await ExecuteAsync("contacts", """
            DELETE FROM schema_migration WHERE (module, name) IN (('service', '0009_acquisition_sources'), ('service', '0020_change_request_operations'));
            DROP INDEX customers_created_at;
            DROP INDEX change_requests_subject;
            ALTER TABLE change_requests DROP COLUMN concerned, DROP COLUMN history_ids;
            INSERT INTO schema_migration (module, name, checksum) VALUES ('service', '9999_of_the_next_release', '');
            ANALYZE
            """);
        var (schema, applied) = (await SchemaAsync(), await AppliedAsync());
        var check = await CheckAsync();
        Assert.True(check.ExitCode == 0, check.Output);
        Assert.Matches(@"pending: service/0009_acquisition_sources: builds an index, while nobody changes rows, on customers \(about 0 rows, [0-9]+ kB\)\n", check.Output);
        Assert.Matches(@"pending: service/0020_change_request_operations: .*changes rows of change_requests \(about 0 rows, ", check.Output);
        Assert.Contains($"2 of {all} migrations are pending", check.Output, StringComparison.Ordinal);
        Assert.Contains("warning: applied by a later build: service/9999_of_the_next_release", check.Output, StringComparison.Ordinal);
        Assert.Equal(schema, await SchemaAsync());
        Assert.Equal(applied, await AppliedAsync());
    }

    [Fact]
    public async Task A_check_names_what_would_stop_the_migrations_or_the_program()
    {
        const string Anew = "DROP DATABASE IF EXISTS contacts WITH (FORCE);";
        await FindsAsync("service/0013_tiers makes tiers, which is there already", inside: "CREATE VIEW tiers AS SELECT 1 AS a");
        await FindsAsync("the encoding of the database is SQL_ASCII, not UTF8", [Anew, "CREATE DATABASE contacts OWNER contacts TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"]);
        await FindsAsync("under the locale C the database knows no letters beyond ASCII", [Anew, "CREATE DATABASE contacts OWNER contacts TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"]);
        await FindsAsync("contacts may not CREATE in the schema", [Anew, "CREATE DATABASE contacts TEMPLATE template0"]);
        await FindsAsync("the extension pg_trgm must be made by a superuser");
        await FindsAsync("the database is read-only", [Anew, "CREATE DATABASE contacts OWNER contacts TEMPLATE template0", "ALTER DATABASE contacts SET default_transaction_read_only = on"]);

        await ExecuteAsync("postgres", Anew);
        await ExecuteAsync("postgres", "CREATE DATABASE contacts OWNER contacts TEMPLATE template0");
        Assert.Equal(0, (await Contacts.RunModeAsync(["--migrate"], Ct)).ExitCode);
        await FindsAsync("service/0009_acquisition_sources changes customers, which is crm_superuser's", inside: """
            ALTER TABLE customers OWNER TO CURRENT_USER; DROP INDEX customers_created_at; DELETE FROM schema_migration WHERE name = '0009_acquisition_sources'
            """);
        await FindsAsync("service/0001_customers was edited after it had been applied", inside: "UPDATE schema_migration SET checksum = 'another' WHERE name = '0001_customers'");
        await FindsAsync("the database cannot be asked", [Anew]);

        var mistyped = await Contacts.RunModeAsync(["--migrate", "--chek"], Ct);
        Assert.Equal(2, mistyped.ExitCode);
        Assert.Contains("--migrate knows no --chek", mistyped.Output, StringComparison.Ordinal);

        async Task FindsAsync(string problem, string[]? server = null, string? inside = null)
        {
            foreach (var statement in server ?? [])
            {
                await ExecuteAsync("postgres", statement);
            }

            if (inside is not null)
            {
                await ExecuteAsync("contacts", inside);
            }

            var check = await CheckAsync();
            Assert.Contains($"problem: {problem}", check.Output, StringComparison.Ordinal);
            Assert.Equal(1, check.ExitCode);
        }
    }

    private Task<ShellResult> CheckAsync() => Contacts.RunModeAsync(["--migrate", "--check"], Ct);

    /// <summary>To its end; one that runs is ended, and has failed the test.</summary>
    private async Task<ShellResult> StartAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        limit.CancelAfter(TimeSpan.FromMinutes(1));
        return await Contacts.RunModeAsync([], limit.Token);
    }

    private Task<List<string>> AppliedAsync() => ReadAsync("""
        SELECT table_name FROM information_schema.tables WHERE table_name = 'schema_migration'
        """, then: "SELECT module || '/' || name FROM schema_migration ORDER BY 1");

    private Task<List<string>> SchemaAsync() => ReadAsync("""
        SELECT 'column ' || concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'function ' || proname || md5(prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        ORDER BY 1
        """);

    /// <param name="then">Asked when the first query found something.</param>
    private async Task<List<string>> ReadAsync(string sql, string? then = null)
    {
        var rows = new List<string>();
        // Not pooled: the database is dropped in between.
        await using (var connection = await OpenAsync("contacts"))
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await using var reader = await command.ExecuteReaderAsync(Ct);
            while (await reader.ReadAsync(Ct))
            {
                rows.Add(reader.GetString(0));
            }
        }

        return then is null || rows.Count == 0 ? rows : await ReadAsync(then);
    }

    private async Task ExecuteAsync(string database, string sql)
    {
        await using var connection = await OpenAsync(database);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(Ct);
    }

    private async Task<NpgsqlConnection> OpenAsync(string database)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(_platform.SuperuserConnectionString) { Database = database, Pooling = false }.ConnectionString);
        await connection.OpenAsync(Ct);
        return connection;
    }
}
