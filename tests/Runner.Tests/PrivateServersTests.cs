using Crm.Runner;
using Crm.Testing;
using Npgsql;

namespace Runner.Tests;

public sealed class PrivateServersTests(ServersFixture servers) : IClassFixture<ServersFixture>
{
    [Fact]
    public async Task What_PostgreSQL_committed_survives_kill_9()
    {
        var ct = TestContext.Current.CancellationToken;
        var database = await servers.CreateDatabaseAsync("killed", ct);
        await ExecuteAsync(database, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (42)");

        await servers.Postgres.KillAsync();
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => ExecuteAsync(database, "SELECT 1"));
        await servers.Postgres.StartAgainAsync(ct);

        Assert.Equal(42, await ExecuteAsync(database, "SELECT x FROM kept"));
    }

    [Fact]
    public async Task A_service_cannot_read_the_database_of_another()
    {
        var mine = await servers.CreateDatabaseAsync("mine", TestContext.Current.CancellationToken);
        var other = new NpgsqlConnectionStringBuilder(await servers.CreateDatabaseAsync("other", TestContext.Current.CancellationToken)).Database;

        var intruder = new NpgsqlConnectionStringBuilder(mine) { Database = other, Pooling = false }.ConnectionString;

        var refused = await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync(intruder, "SELECT 1"));
        Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, refused.SqlState);
    }

    [Fact]
    public async Task Creating_a_database_again_keeps_what_is_in_it()
    {
        var ct = TestContext.Current.CancellationToken;
        var first = await servers.Postgres.CreateDatabaseAsync("again", "one", ct);
        await ExecuteAsync(first, "CREATE TABLE kept (x int)");

        var second = await servers.Postgres.CreateDatabaseAsync("again", "two", ct);

        Assert.Equal(0L, await ExecuteAsync(second, "SELECT count(*) FROM kept"));
    }

    [Fact]
    public async Task RabbitMQ_knows_one_user_and_one_virtual_host_and_comes_back_after_kill_9()
    {
        var ct = TestContext.Current.CancellationToken;
        var rabbit = await servers.RabbitMqAsync(ct);
        Assert.Equal("crm\t[administrator]", (await rabbit.ControlAsync(["list_users", "--no-table-headers"], ct)).Trim());

        await rabbit.KillAsync();
        Assert.False(await rabbit.Process.IsAliveAsync());
        await rabbit.StartAgainAsync(ct);

        Assert.Equal("crm", (await rabbit.ControlAsync(["list_vhosts", "--no-table-headers"], ct)).Trim());
    }

    [Fact]
    public async Task A_frozen_PostgreSQL_answers_nobody_until_it_is_thawed()
    {
        var ct = TestContext.Current.CancellationToken;
        var database = await servers.CreateDatabaseAsync("frozen", ct);
        await using var open = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(database) { Pooling = false, CommandTimeout = 2 }.ConnectionString);
        await open.OpenAsync(ct);

        await servers.Postgres.Process.FreezeAsync();
        try
        {
            var impatient = new NpgsqlConnectionStringBuilder(database) { Pooling = false, Timeout = 2 }.ConnectionString;
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => ExecuteAsync(impatient, "SELECT 1"));
            await using var asked = new NpgsqlCommand("SELECT 1", open);
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => asked.ExecuteScalarAsync(ct));
            Assert.True(await servers.Postgres.Process.IsAliveAsync());
        }
        finally
        {
            await servers.Postgres.Process.ThawAsync();
        }

        Assert.Equal(1, await ExecuteAsync(database, "SELECT 1"));
    }

    [Fact]
    public async Task Another_kind_of_servers_than_there_are_is_refused_by_name()
    {
        var refused = await Assert.ThrowsAsync<RunnerException>(() => TestServers.ChooseAsync("vagrant"));

        Assert.Contains("CRM_TEST_SERVERS=vagrant", refused.Problem, StringComparison.Ordinal);
    }

    private static async Task<object?> ExecuteAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(TestContext.Current.CancellationToken);
    }
}
