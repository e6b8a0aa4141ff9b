using Crm.Runner;
using Crm.Runner.Backups;
using Crm.Runner.Cdnow;
using Crm.Runner.Histories;
using Crm.Testing;
using Npgsql;

// Each has a platform of its own.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Durability.Tests;

/// <summary>A platform of its own: its databases are replaced.</summary>
public sealed class BackupTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("crm-backups-").FullName;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_backup_under_load_and_kill_9_comes_back_as_one_state_of_all_services_and_clients_go_on_from_it()
    {
        SharedData.Require(CdnowData.Purchases);
        SharedData.Require(CdnowData.People);
        var customers = CdnowData.Read(SharedData.Folder, 100);
        await using var platform = await Crm.Runner.Platform.StartAsync("backup", servers: await TestServers.GetAsync(), ct: Ct);
        using var client = platform.CreateClient();
        var load = new CdnowLoad(client);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        var faults = new Faults(platform, withServers: true, _ => { });
        var loading = load.RunAsync(customers, ct: Ct);
        await Eventually.GetAsync(() => Task.FromResult(load.Rows), rows => rows > CdnowLoad.RowsOf(customers) / 5, TimeSpan.FromMinutes(2), Ct);
        var killing = faults.RunAsync(TimeSpan.FromSeconds(7), stop.Token);
        var (manifest, refused) = await BackUpAsync(platform, Path.Combine(_folder, "load"));
        await loading;
        await stop.CancelAsync();
        await killing;

        await Task.WhenAll(platform.Services.Values.Select(s => s.KillAsync()));
        await Restore.RunAsync(platform, Path.Combine(_folder, "load"), overwrite: true, (_, _) => { }, Ct);
        await platform.StartServicesAsync(Ct);
        var check = new CdnowCheck(platform, new ApiClient(client), customers);
        await check.DrainAsync(TimeSpan.FromMinutes(2), Ct);

        var saved = manifest.Databases.Single(d => d.Service == "billing-sync").Tables["public.orders"].Rows;
        Assert.InRange(saved, 1, customers.Sum(c => c.Purchases.Count) - 1);
        Assert.Equal(saved, (await OrdersAsync(platform, "billing-sync", "orders")).Count);
        var findings = new Findings();
        await check.CompareCopiesAsync(findings, Ct);
        Assert.Empty(findings.Sentences);
        Assert.Equal(await OrdersAsync(platform, "billing-sync", "orders"), await OrdersAsync(platform, "interactions", "timeline WHERE type = 'order'"));
        Assert.Equal(await OrdersAsync(platform, "billing-sync", "orders"), await OrdersAsync(platform, "campaigns", "orders"));

        // The partner sends everything again: what was after the backup is new, what was before it is known.
        await load.RunAsync(customers, ct: Ct);
        await check.DrainAsync(TimeSpan.FromMinutes(2), Ct);
        await check.CompareAsync(findings, Ct);
        Assert.Empty(findings.Sentences);
        TestContext.Current.SendDiagnosticMessage(
            $"{saved} orders were saved; events waited {manifest.RelaysHeldSeconds:0.00} s, writes {manifest.WritesHeldSeconds:0.000} s; {refused} backups were given up, {faults.Injected.Count} kills");
    }

    [Fact]
    public async Task A_restore_replaces_nothing_that_it_was_not_told_to_and_nothing_by_a_damaged_backup()
    {
        await using var platform = await Crm.Runner.Platform.StartAsync("restore", servers: await TestServers.GetAsync(), ct: Ct);
        Assert.Empty(await EndToEndCheck.RunAsync(platform, Ct));
        var folder = Path.Combine(_folder, "whole");
        var manifest = await Backup.TakeAsync(platform, folder, (_, _) => { }, Ct);

        Assert.Contains("there already", (await Assert.ThrowsAsync<RunnerException>(() => Backup.TakeAsync(platform, folder, (_, _) => { }, Ct))).Message, StringComparison.Ordinal);
        Assert.Contains("Not empty: contacts", (await Assert.ThrowsAsync<RunnerException>(() => Restore.RunAsync(platform, folder, overwrite: false, (_, _) => { }, Ct))).Message, StringComparison.Ordinal);
        await Restore.DrillAsync(platform, folder, (_, _) => { }, Ct);
        Assert.Equal(manifest.Databases.Select(d => d.Database).Order(), await DatabasesAsync(platform));

        var dump = Path.Combine(folder, "contacts.dump");
        await File.AppendAllTextAsync(dump, "x", Ct);
        Assert.Contains("is not what was backed up", (await Assert.ThrowsAsync<RunnerException>(() => Restore.RunAsync(platform, folder, overwrite: true, (_, _) => { }, Ct))).Message, StringComparison.Ordinal);
        Assert.Contains("manifest", (await Assert.ThrowsAsync<RunnerException>(() => Restore.RunAsync(platform, _folder, overwrite: true, (_, _) => { }, Ct))).Message, StringComparison.Ordinal);
        Assert.Empty(await EndToEndCheck.RunAsync(platform, Ct));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>One that meets a kill of the database or the broker is given up, and leaves nothing under its name.</summary>
    private static async Task<(BackupManifest Manifest, int Refused)> BackUpAsync(Crm.Runner.Platform platform, string folder)
    {
        for (var refused = 0; ; refused++)
        {
            try
            {
                return (await Backup.TakeAsync(platform, folder, (_, _) => { }, Ct), refused);
            }
            catch (RunnerException) when (refused < 20)
            {
                Assert.False(Directory.Exists(folder));
                await Task.Delay(500, Ct);
            }
        }
    }

    private static async Task<IReadOnlyList<(Guid Order, Guid Customer)>> OrdersAsync(Crm.Runner.Platform platform, string service, string from)
    {
        var orders = new List<(Guid, Guid)>();
        await using var database = NpgsqlDataSource.Create(await platform.ConnectionStringAsync(service));
        await using var command = database.CreateCommand($"SELECT id, customer_id FROM {from} ORDER BY id");
        await using var reader = await command.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            orders.Add((reader.GetGuid(0), reader.GetGuid(1)));
        }

        return orders;
    }

    private static async Task<IReadOnlyList<string>> DatabasesAsync(Crm.Runner.Platform platform)
    {
        var names = new List<string>();
        await using var server = NpgsqlDataSource.Create(platform.SuperuserConnectionString);
        await using var command = server.CreateCommand("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname COLLATE \"C\"");
        await using var reader = await command.ExecuteReaderAsync(Ct);
        while (await reader.ReadAsync(Ct))
        {
            names.Add(reader.GetString(0));
        }

        return names;
    }
}
