using System.Diagnostics;
using Npgsql;

namespace Crm.Runner.Backups;

/// <summary>
/// One state of all databases at once, with no event under way between them (docs/backup.md has the reasoning): relays
/// are held by the locks that they divide their work by, queues run empty, and while no transaction that publishes can
/// commit anywhere, each database exports a snapshot. Then everything goes on; the snapshots stay.
/// </summary>
internal sealed class ConsistentCut : IAsyncDisposable
{
    /// <summary>How long queues may take to run empty; writes go on meanwhile, only their events wait.</summary>
    public static readonly TimeSpan LongestDrain = TimeSpan.FromSeconds(30);

    private const int BarrierTries = 20;

    private readonly Platform _platform;
    private readonly List<Hold> _holds = [];
    private readonly Dictionary<string, Snapshot> _snapshots = [];

    private ConsistentCut(Platform platform) => _platform = platform;

    public sealed record Snapshot(string Id, NpgsqlConnection Connection);

    /// <summary>By service.</summary>
    public IReadOnlyDictionary<string, Snapshot> Snapshots => _snapshots;

    public DateTimeOffset TakenAt { get; private set; }

    /// <summary>How long events waited.</summary>
    public TimeSpan RelaysHeld { get; private set; }

    /// <summary>How long writes that publish an event waited.</summary>
    public TimeSpan WritesHeld { get; private set; }

    /// <exception cref="RunnerException">Queues did not run empty, or a database or the broker went away meanwhile; everything goes on as before.</exception>
    public static async Task<ConsistentCut> TakeAsync(Platform platform, CancellationToken ct)
    {
        var cut = new ConsistentCut(platform);
        try
        {
            await cut.TakeAsync(ct);
            return cut;
        }
        catch (NpgsqlException e)
        {
            await cut.DisposeAsync();
            throw new RunnerException($"No backup: a database went away while it was taken ({e.Message}).", "Nothing was changed. Run it again.");
        }
        catch
        {
            await cut.DisposeAsync();
            throw;
        }
    }

    private async Task TakeAsync(CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        foreach (var service in _platform.Topology.Services.Select(s => s.Name))
            _holds.Add(new Hold(service, await OpenAsync(service, ct)));
        // A relay that has a batch in work is waited for; from then on nothing is published.
        await Task.WhenAll(_holds.Select(h => h.ExecuteAsync("""
            BEGIN;
            SET LOCAL idle_in_transaction_session_timeout = '60s';
            SET LOCAL lock_timeout = '45s';
            SELECT id FROM outbox_partition ORDER BY id FOR UPDATE
            """, ct)));
        await DrainAsync(ct);

        var writes = await HoldWritesAsync(ct);
        foreach (var hold in _holds)
        {
            var connection = await OpenAsync(hold.Service, ct);
            await using var export = new NpgsqlCommand("""
                BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                SET LOCAL idle_in_transaction_session_timeout = 0;
                SELECT pg_export_snapshot()
                """, connection);
            _snapshots.Add(hold.Service, new Snapshot((string)(await export.ExecuteScalarAsync(ct))!, connection));
        }

        TakenAt = DateTimeOffset.UtcNow;
        // A session that still answers has held its locks until now, so until after the last snapshot. One that was cut
        // (kill -9 of the database, its own time limit) throws, and there is no backup.
        foreach (var hold in _holds)
            await hold.ExecuteAsync("SELECT 1", ct);
        foreach (var hold in _holds)
            await hold.ExecuteAsync("COMMIT", ct);
        (WritesHeld, RelaysHeld) = (Stopwatch.GetElapsedTime(writes), Stopwatch.GetElapsedTime(start));
        await ReleaseAsync();
    }

    /// <summary>
    /// Without relays nothing enters a queue, so each that was seen empty stays so; delivered and not yet acknowledged counts
    /// as there. A consumer that is killed gives its messages back, and one that starts again takes them.
    /// </summary>
    private async Task DrainAsync(CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        var rest = "the broker does not answer";
        while (true)
        {
            try
            {
                var queues = await _platform.RabbitMq!.QueueDepthsAsync(ct);
                if (queues.Count > 0 && queues.Values.All(messages => messages == 0))
                    return;
                rest = queues.Count == 0 ? "there are no queues" : string.Join(", ", queues.Where(q => q.Value != 0).Select(q => $"{q.Key} {q.Value?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "?"}"));
            }
            catch (InvalidOperationException)
            {
                rest = "the broker does not answer";
            }

            if (Stopwatch.GetElapsedTime(start) > LongestDrain)
                throw new RunnerException($"No backup: queues did not run empty in {LongestDrain.TotalSeconds:0} s ({rest}).", "Is a service down, or busy with an import? Everything goes on as before; run it again later.");
            await Task.Delay(100, ct);
        }
    }

    /// <summary>
    /// SHARE on every outbox: waits for the transactions that have published, and keeps others from it. One that cannot be
    /// had soon is asked for again, with all given back in between, so that writers never wait long.
    /// </summary>
    private async Task<long> HoldWritesAsync(CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            var start = Stopwatch.GetTimestamp();
            try
            {
                foreach (var hold in _holds)
                    // A vacuum gives way after deadlock_timeout, one second.
                    await hold.ExecuteAsync("SAVEPOINT writes; SET LOCAL lock_timeout = '2s'; LOCK TABLE outbox IN SHARE MODE", ct, h => h.Saved = true);
                return start;
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable && attempt < BarrierTries)
            {
                foreach (var hold in _holds.Where(h => h.Saved))
                {
                    await hold.ExecuteAsync("ROLLBACK TO SAVEPOINT writes; RELEASE SAVEPOINT writes", ct);
                    hold.Saved = false;
                }

                await Task.Delay(TimeSpan.FromMilliseconds(200 + Random.Shared.Next(300)), ct);
            }
        }
    }

    private async Task<NpgsqlConnection> OpenAsync(string service, CancellationToken ct)
    {
        var options = new NpgsqlConnectionStringBuilder(await _platform.ConnectionStringAsync(service)) { Pooling = false, ApplicationName = "crm backup", CommandTimeout = 0 };
        var connection = new NpgsqlConnection(options.ConnectionString);
        await connection.OpenAsync(ct);
        return connection;
    }

    private async Task ReleaseAsync()
    {
        foreach (var hold in _holds)
            await hold.Connection.DisposeAsync();
        _holds.Clear();
    }

    public async ValueTask DisposeAsync()
    {
        await ReleaseAsync();
        foreach (var snapshot in _snapshots.Values)
            await snapshot.Connection.DisposeAsync();
        _snapshots.Clear();
    }

    private sealed class Hold(string service, NpgsqlConnection connection)
    {
        public string Service => service;

        public NpgsqlConnection Connection => connection;

        public bool Saved { get; set; }

        public async Task ExecuteAsync(string sql, CancellationToken ct, Action<Hold>? before = null)
        {
            before?.Invoke(this);
#pragma warning disable CA2100 // constants of this file
            await using var command = new NpgsqlCommand(sql, connection);
#pragma warning restore CA2100
            await command.ExecuteNonQueryAsync(ct);
        }
    }
}
