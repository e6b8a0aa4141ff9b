using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// Runs scans one after the other. Any number of replicas may run: a lock that ends with the process says whose turn it is,
/// and a scan whose process died is done again; what it had found is found there.
/// </summary>
internal sealed partial class ScanWorker(NpgsqlDataSource dataSource, DuplicateScanner scanner, TimeProvider clock, ILogger<ScanWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger)
{
    private const int MostAttempts = 5;

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(ct))
        {
        }
    }

    /// <summary>One scan; false when there is nothing to do that is not done by another replica, or it failed and has to wait.</summary>
    private async Task<bool> StepAsync(CancellationToken ct)
    {
        await using var connection = await dataSource.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await using var next = new NpgsqlCommand("""
            SELECT id, mode = 'full', attempts FROM duplicate_scans
            WHERE status IN ('queued', 'running') AND pg_try_advisory_xact_lock(hashtextextended('duplicate scan', 0))
            ORDER BY id LIMIT 1
            """, connection);
        Guid id;
        bool full;
        int attempts;
        await using (var row = await next.ExecuteReaderAsync(ct))
        {
            if (!await row.ReadAsync(ct))
            {
                return false;
            }

            (id, full, attempts) = (row.GetGuid(0), row.GetBoolean(1), row.GetInt32(2));
        }

        try
        {
            var (found, merged) = await scanner.RunAsync(id, full, ct);
            LogFinished(Contracts.Ids.DuplicateScan.Format(id), found, merged);
            return true;
        }
        catch (Exception exception) when (!ct.IsCancellationRequested)
        {
            LogFailed(exception, Contracts.Ids.DuplicateScan.Format(id));
            await scanner.FailedAsync(id, giveUp: attempts + 1 >= MostAttempts, ct);
            return false;
        }
    }

    [LoggerMessage(LogLevel.Information, "Scan {Id} is completed: {Found} pairs, {Merged} merged")]
    private partial void LogFinished(string id, long found, long merged);

    [LoggerMessage(LogLevel.Error, "Scan {Id} failed")]
    private partial void LogFailed(Exception exception, string id);
}
