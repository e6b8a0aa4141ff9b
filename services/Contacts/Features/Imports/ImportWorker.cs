using Crm.Contacts.Domain.Imports;
using Crm.Hosting;
using Npgsql;

namespace Crm.Contacts.Features.Imports;

/// <summary>After an import or its undo is asked for.</summary>
internal sealed class ImportSignal : WakeSignal;

/// <summary>
/// Works on imports and their undos, a batch a transaction. Any number of replicas may run: the row lock on the import
/// says whose batch it is, and ends with the process.
/// </summary>
internal sealed partial class ImportWorker(IServiceScopeFactory scopes, ImportSignal signal, NpgsqlDataSource dataSource, TimeProvider clock, ILogger<ImportWorker> logger)
    : RepeatedWork(TimeSpan.FromSeconds(1), clock, logger, signal)
{
    private static readonly System.Diagnostics.Metrics.Counter<long> Rows =
        Telemetry.Meter.CreateCounter<long>("crm.contacts.import_rows", description: "Rows of imports by what became of them");

    /// <summary>Whose batch was done just now.</summary>
    private Guid? _last;

    protected override async Task RunAsync(CancellationToken ct)
    {
        while (await StepAsync(ct))
        {
            await ImportEvents.WaitForRelayAsync(dataSource, ct);
        }
    }

    /// <summary>One batch; false when there is nothing to do.</summary>
    private async Task<bool> StepAsync(CancellationToken ct)
    {
        Guid? id = null;
        var last = _last;
        _last = null;
        try
        {
            await using var scope = scopes.CreateAsyncScope();
            var batch = scope.ServiceProvider.GetRequiredService<ImportBatch>();
            if (!await batch.BeginAsync(last, ct))
            {
                return false;
            }

            id = batch.Import.Id;
            foreach (var (outcome, count) in await batch.RunAsync(ct))
            {
                Rows.Add(count, new KeyValuePair<string, object?>("outcome", outcome));
            }

            if (batch.Import.Status is ImportStatus.Completed or ImportStatus.Undone)
            {
                LogFinished(Contracts.Ids.Import.Format(batch.Import.Id), Hosting.Data.EnumColumns.ToWord(batch.Import.Status));
            }

            if (batch.Import.Missing is { Length: > 0 } missing)
            {
                LogWaiting(Contracts.Ids.Import.Format(batch.Import.Id), string.Join(", ", missing));
                return true;
            }

            _last = id;
            return true;
        }
        catch (Exception exception) when (id is not null && !ct.IsCancellationRequested)
        {
            // The next try has a smaller batch, in the end of one row: a row that cannot be written must not stop the others.
            LogFailed(exception, Contracts.Ids.Import.Format(id.Value));
            await Task.Delay(PauseAfterFailure, Clock, ct);
            return true;
        }
    }

    [LoggerMessage(LogLevel.Information, "Import {Id} is {Status}")]
    private partial void LogFinished(string id, string status);

    [LoggerMessage(LogLevel.Error, "A batch of import {Id} failed and is tried again")]
    private partial void LogFailed(Exception exception, string id);

    [LoggerMessage(LogLevel.Warning, "The undo of import {Id} waits for {Services}")]
    private partial void LogWaiting(string id, string services);
}
