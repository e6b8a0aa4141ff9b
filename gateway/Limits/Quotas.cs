using System.Collections.Concurrent;
using Crm.Hosting;
using Npgsql;

namespace Crm.Gateway.Limits;

/// <summary>What the limiter says of one request.</summary>
/// <param name="Remaining">Requests left in the window, over all replicas, as far as this one knows.</param>
/// <param name="ResetSeconds">Until the window ends.</param>
internal readonly record struct Quota(bool Admitted, int Limit, int Remaining, int ResetSeconds);

/// <summary>
/// A caller's requests in fixed windows of one minute, shared by all replicas: each takes a twentieth of
/// the quota at a time from the database and spends it in memory, and takes the next while it still has
/// some. Never more than the quota is given out, so two replicas together admit at most the quota.
/// While the database cannot be reached each replica admits the quota by itself.
/// </summary>
internal sealed partial class Quotas(NpgsqlDataSource dataSource, TimeProvider clock, ILogger<Quotas> logger)
    : RepeatedWork(TimeSpan.FromMinutes(1), clock, logger)
{
    private const int Chunks = 20;
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, Window> _windows = new(StringComparer.Ordinal);
    private long? _awayAt;

    public async ValueTask<Quota> TakeAsync(string caller, int limit, CancellationToken ct)
    {
        while (true)
        {
            var seconds = Clock.GetUtcNow().ToUnixTimeSeconds();
            var window = _windows.GetOrAdd(caller, static _ => new());
            Task refill;
            lock (window)
            {
                window.Enter(seconds / 60, limit);
                if (window.Left > 0)
                {
                    window.Left--;
                    // Half a chunk left: the next one comes while nobody waits for it.
                    if (window is { Exhausted: false, Refill: null } && window.Left < ChunkOf(limit) / 2)
                    {
                        Refill(caller, window);
                    }

                    return Answer(admitted: true);
                }

                if (window.Exhausted)
                {
                    return Answer(admitted: false);
                }

                refill = window.Refill ?? Refill(caller, window);
            }

            await refill.WaitAsync(ct);

            Quota Answer(bool admitted) => new(admitted, limit, window.Left + Math.Max(0, limit - window.Taken), (int)(60 - (seconds % 60)));
        }
    }

    /// <summary>Forgets the windows that are over.</summary>
    protected override async Task RunAsync(CancellationToken ct)
    {
        var minute = Clock.GetUtcNow().ToUnixTimeSeconds() / 60;
        foreach (var (caller, window) in _windows)
        {
            if (window.Minute < minute - 1)
            {
                _windows.TryRemove(KeyValuePair.Create(caller, window));
            }
        }

        await using var command = dataSource.CreateCommand("DELETE FROM quota_window WHERE minute < @minute");
        command.Parameters.AddWithValue("minute", minute - 10);
        await command.ExecuteNonQueryAsync(ct);
    }

    private static int ChunkOf(int limit) => Math.Max(1, limit / Chunks);

    /// <summary>Called under the window's lock; the work itself runs outside.</summary>
    private Task Refill(string caller, Window window)
    {
        var (minute, limit) = (window.Minute, window.Limit);
        var context = ExecutionContext.SuppressFlow();
        try
        {
            return window.Refill = Task.Run(async () =>
            {
                var taken = await TakeChunkAsync(caller, minute, limit);
                lock (window)
                {
                    // A window that began meanwhile has its own refill.
                    if (window.Minute == minute && window.Limit == limit)
                    {
                        window.Add(taken, ChunkOf(limit));
                        window.Refill = null;
                    }
                }
            });
        }
        finally
        {
            context.Undo();
        }
    }

    /// <summary>What all replicas have taken now, this chunk with it; null when the quota was taken before, negative when the database is away.</summary>
    private async Task<int?> TakeChunkAsync(string caller, long minute, int limit)
    {
        if (_awayAt is { } away && Clock.GetElapsedTime(away) < Pause)
        {
            return -1;
        }

        try
        {
            using var quiet = QuietWork.Begin();
            using var wait = new CancellationTokenSource(LongestWait, Clock);
            await using var command = dataSource.CreateCommand("""
                INSERT INTO quota_window AS w (caller, minute, taken) VALUES (@caller, @minute, @chunk)
                ON CONFLICT (caller, minute) DO UPDATE SET taken = w.taken + excluded.taken WHERE w.taken < @limit
                RETURNING taken
                """);
            command.Parameters.AddWithValue("caller", caller);
            command.Parameters.AddWithValue("minute", minute);
            command.Parameters.AddWithValue("chunk", ChunkOf(limit));
            command.Parameters.AddWithValue("limit", limit);
            return (int?)await command.ExecuteScalarAsync(wait.Token);
        }
        catch (Exception exception) when (exception is NpgsqlException or TimeoutException or OperationCanceledException)
        {
            _awayAt = Clock.GetTimestamp();
            LogAway(exception.Message);
            return -1;
        }
    }

    [LoggerMessage(LogLevel.Warning, "Quotas are counted by this replica alone: the database cannot be reached ({Reason})")]
    private partial void LogAway(string reason);

    /// <summary>One caller's minute at this replica. Every member is used under the lock on the instance.</summary>
    private sealed class Window
    {
        private int _alone;

        public long Minute { get; private set; } = -1;
        public int Limit { get; private set; }

        /// <summary>Taken from the quota and not yet spent here.</summary>
        public int Left { get; set; }

        /// <summary>What all replicas have taken, as of the last chunk.</summary>
        public int Taken { get; private set; }

        public bool Exhausted { get; private set; }
        public Task? Refill { get; set; }

        public void Enter(long minute, int limit)
        {
            if (minute != Minute || limit != Limit)
            {
                (Minute, Limit, Left, Taken, Exhausted, Refill, _alone) = (minute, limit, 0, 0, false, null, 0);
            }
        }

        public void Add(int? taken, int chunk)
        {
            switch (taken)
            {
                case null:
                    Taken = Limit;
                    Exhausted = true;
                    break;
                case < 0:
                    var alone = Math.Min(chunk, Limit - _alone);
                    _alone += alone;
                    Left += alone;
                    Taken = Math.Max(Taken, _alone);
                    Exhausted = _alone >= Limit;
                    break;
                default:
                    // The last chunk may be cut short by the quota.
                    Left += Math.Min(chunk, Limit - (taken.Value - chunk));
                    Taken = Math.Min(taken.Value, Limit);
                    _alone = Math.Max(_alone, Taken);
                    Exhausted = taken.Value >= Limit;
                    break;
            }
        }
    }
}
