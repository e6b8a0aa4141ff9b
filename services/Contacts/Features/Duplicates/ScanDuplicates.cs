using Crm.Contacts.Domain.Duplicates;
using Crm.Contracts;
using Crm.Hosting.Audit;
using Crm.Hosting.Web;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>
/// Asks for a scan for duplicates; what it finds is in <c>GET /v1/duplicates</c>. By default only customers that are new or
/// changed since the last one are looked at; the first scan looks at all, whatever was asked for. One that waits already
/// is answered instead of another.
/// </summary>
internal static class ScanDuplicates
{
    public sealed record Request
    {
        /// <summary>Default <c>changed</c>.</summary>
        public ScanMode? Mode { get; init; }
    }

    /// <param name="Records">Customers looked at so far.</param>
    /// <param name="Compared">Pairs compared so far.</param>
    /// <param name="Found">Pairs put into the review queue or found there again.</param>
    /// <param name="Merged">Pairs merged without being asked about; 0 unless <c>Duplicates:MergeFrom</c> is set.</param>
    public sealed record ScanView(
        string Id, ScanMode Mode, ScanStatus Status, string Actor, long Records, long Compared, long Found, long Merged, DateTimeOffset CreatedAt, DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt)
    {
        internal static ScanView Of(DuplicateScan scan) => new(
            Ids.DuplicateScan.Format(scan.Id), scan.Mode, scan.Status, scan.Actor, scan.Records, scan.Compared, scan.Found, scan.Merged, scan.CreatedAt, scan.StartedAt, scan.FinishedAt);
    }

    public static async Task<Accepted<ScanView>> Handle(Request body, ContactsDb db, TimeProvider clock, CancellationToken ct)
    {
        var scan = await db.InTransactionAsync(async () =>
        {
            await db.LockScansAsync(ct);
            var full = await db.DuplicateScans.AsNoTracking().Where(s => s.Mode == ScanMode.Full).OrderByDescending(s => s.Id).FirstOrDefaultAsync(ct);
            var mode = full is null or { Status: ScanStatus.Failed } ? ScanMode.Full : body.Mode ?? ScanMode.Changed;
            if (await db.DuplicateScans.FirstOrDefaultAsync(s => s.Mode == mode && s.Status == ScanStatus.Queued, ct) is { } waiting)
            {
                return waiting;
            }

            return await db.AskForScanAsync(mode, clock.GetUtcNow(), ct);
        }, ct);
        var view = ScanView.Of(scan);
        return TypedResults.Accepted($"/v1/duplicate-scans/{view.Id}", view);
    }

    /// <summary>Nobody else asks for a scan until the transaction ends.</summary>
    public static Task LockScansAsync(this ContactsDb db, CancellationToken ct) => db.LockAsync(["duplicate scans"], ct);

    public static async Task<DuplicateScan> AskForScanAsync(this ContactsDb db, ScanMode mode, DateTimeOffset now, CancellationToken ct)
    {
        var asked = DuplicateScan.Ask(mode, db.Actor(), now);
        db.DuplicateScans.Add(asked);
        db.AuditRow(DuplicateScan.RecordType, asked.Id, null, asked);
        await db.SaveChangesAsync(ct);
        return asked;
    }

    public static async Task<Ok<ScanView>> Read(string id, ContactsDb db, CancellationToken ct) =>
        Ids.DuplicateScan.TryParse(id, out var key) && await db.DuplicateScans.AsNoTracking().FirstOrDefaultAsync(s => s.Id == key, ct) is { } scan
            ? TypedResults.Ok(ScanView.Of(scan))
            : throw ProblemException.NotFound("scan");

    public static Task<Page<ScanView>> List(HttpRequest request, ContactsDb db, CancellationToken ct) =>
        db.DuplicateScans.AsNoTracking().ToPageAsync(PageRequest.Read(request, Ids.DuplicateScan), s => s.Id, Ids.DuplicateScan, ScanView.Of, ct);
}
