using Crm.Contacts.Domain;
using Crm.Contacts.Domain.Duplicates;
using Crm.Hosting;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// Asks for a scan of what is new or changed when that has waited for <see cref="DuplicateOptions.ScanSeconds"/>; for a full
/// one at first, when there are twice as many customers as at the last (what was estimated from few says little of many), and
/// when an upgrade has made the keys of what was counted otherwise.
/// Any number of replicas may run: they ask one after the other, and the second finds that it was asked for.
/// </summary>
internal sealed partial class AskForScans(IServiceScopeFactory scopes, IOptions<DuplicateOptions> options, TimeProvider clock, ILogger<AskForScans> logger)
    : RepeatedWork(TimeSpan.FromSeconds(Math.Clamp(options.Value.ScanSeconds, 1, 60)), clock, logger)
{
    protected override async Task RunAsync(CancellationToken ct)
    {
        if (options.Value.ScanSeconds == 0)
        {
            return;
        }

        await using var scope = scopes.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<ContactsDb>();
        var scan = await db.InTransactionAsync(async () =>
        {
            await db.LockScansAsync(ct);
            return await IsDueAsync(db, ct) && await ModeAsync(db, ct) is { } mode ? await db.AskForScanAsync(mode, Clock.GetUtcNow(), ct) : null;
        }, ct);
        if (scan is not null)
        {
            LogAsked(Contracts.Ids.DuplicateScan.Format(scan.Id), scan.Mode);
        }
    }

    /// <summary>A change has waited long enough, and the last scan is over and as long ago.</summary>
    private Task<bool> IsDueAsync(ContactsDb db, CancellationToken ct)
    {
        var before = Clock.GetUtcNow().AddSeconds(-options.Value.ScanSeconds);
        return db.Database.SqlQuery<bool>($"""
            SELECT NOT EXISTS (SELECT FROM duplicate_scans WHERE status IN ('queued', 'running'))
                AND coalesce((SELECT created_at FROM duplicate_scans ORDER BY id DESC LIMIT 1) <= {before}, true)
                AND EXISTS (SELECT FROM duplicate_changes d JOIN customers c ON c.id = d.customer_id WHERE c.updated_at <= {before}) AS "Value"
            """).SingleAsync(ct);
    }

    /// <summary>Null before the first full scan when that was given up: somebody has to look why.</summary>
    private static async Task<ScanMode?> ModeAsync(ContactsDb db, CancellationToken ct)
    {
        var last = await db.DuplicateScans.AsNoTracking().Where(s => s.Mode == ScanMode.Full).OrderByDescending(s => s.Id).FirstOrDefaultAsync(ct);
        if (last is null)
        {
            return ScanMode.Full;
        }

        if (last.Status == ScanStatus.Failed)
        {
            return await db.DuplicateScans.AnyAsync(s => s.Mode == ScanMode.Full && s.Status == ScanStatus.Completed, ct) ? ScanMode.Changed : null;
        }

        return await db.Customers.LongCountAsync(c => c.State == CustomerState.Active, ct) > 2 * last.Records
            || await db.Database.SqlQuery<bool>($"""SELECT EXISTS (SELECT FROM duplicate_models WHERE outdated) AS "Value" """).SingleAsync(ct) ? ScanMode.Full : ScanMode.Changed;
    }

    [LoggerMessage(LogLevel.Information, "Scan {Id} is asked for: {Mode}")]
    private partial void LogAsked(string id, ScanMode mode);
}
