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
        // Nothing else is said in it while a scan of a million customers runs for minutes.
        await using (var patience = new NpgsqlCommand("SET LOCAL idle_in_transaction_session_timeout = 0", connection))
        {
            await patience.ExecuteNonQueryAsync(ct);
        }

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

        // Counted before the work: what kills the process tells nobody.
        if (attempts >= MostAttempts)
        {
            LogGivenUp(Contracts.Ids.DuplicateScan.Format(id), attempts);
            await scanner.GiveUpAsync(id, ct);
            return true;
        }

        try
        {
            var (found, merged) = await scanner.RunAsync(id, full, ct);
            LogFinished(Contracts.Ids.DuplicateScan.Format(id), found, merged);
            return true;
        }
        catch (Exception) when (ct.IsCancellationRequested)
        {
            await scanner.StoppedAsync(id, CancellationToken.None);
            throw;
        }
        catch (Exception exception)
        {
            LogFailed(exception, Contracts.Ids.DuplicateScan.Format(id));
            return false;
        }
    }

    [LoggerMessage(LogLevel.Information, "Scan {Id} is completed: {Found} pairs, {Merged} merged")]
    private partial void LogFinished(string id, long found, long merged);

    [LoggerMessage(LogLevel.Error, "Scan {Id} is given up after {Attempts} attempts")]
    private partial void LogGivenUp(string id, int attempts);

    [LoggerMessage(LogLevel.Error, "Scan {Id} failed")]
    private partial void LogFailed(Exception exception, string id);
}
