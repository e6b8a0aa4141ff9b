using System.Text.Json;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Microsoft.EntityFrameworkCore;

namespace Crm.Contacts.Features.Merges;

/// <summary>A merge as the API shows it.</summary>
/// <param name="UndoUntil">Until when it can be undone.</param>
/// <param name="ErasedAt">When one of its customers was erased: since then it cannot be undone, and says neither reason nor manifest.</param>
/// <param name="Missing">Services whose receipt of the present phase is not in.</param>
/// <param name="WaitingSeconds">How long it has waited for them; null when none is missing.</param>
/// <param name="Stayed">Of an undo: rows recorded since the merge that stay with the survivor.</param>
/// <param name="KeptEdits">Of an undo: what was edited since the merge and stays.</param>
/// <param name="NotGivenBack">Of an undo: external ids and values of unique fields that somebody else has by now.</param>
/// <param name="CarriedConsents">Of an undo: refusals and pauses said since the merge, which now hold for the restored customers too.</param>
/// <param name="CarriedHolds">Of an undo: legal holds set since the merge and not lifted, which now bind the restored too.</param>
/// <param name="Blockers">
/// What would have forbidden the merge and came when it had been asked for already, as it was when the rows moved: of accounts
/// that pay in the same billing source one is to be ended. Empty nearly always, and of a merge whose undo was asked for.
/// </param>
public sealed record MergeView(
    string Id,
    MergeStatus Status,
    string SurvivorId,
    IReadOnlyList<string> AbsorbedIds,
    string Reason,
    string Actor,
    DateTimeOffset MergedAt,
    DateTimeOffset? CompletedAt,
    DateTimeOffset UndoUntil,
    DateTimeOffset? ErasedAt,
    MergeUndoView? Undo,
    IReadOnlyList<ReceiptView> Receipts,
    IReadOnlyList<string> Missing,
    long? WaitingSeconds,
    IReadOnlyList<StayedView> Stayed,
    IReadOnlyList<KeptEdit> KeptEdits,
    IReadOnlyList<NotGivenBack> NotGivenBack,
    IReadOnlyList<CarriedConsent> CarriedConsents,
    IReadOnlyList<CarriedHold> CarriedHolds,
    IReadOnlyList<BlockerView> Blockers,
    JsonElement Manifest)
{
    internal static MergeView Of(Merge merge, MergeOptions options, DateTimeOffset now) => new(
        Ids.Merge.Format(merge.Id),
        merge.Status,
        Ids.Customer.Format(merge.SurvivorId),
        [.. merge.AbsorbedIds.Select(id => Ids.Customer.Format(id))],
        merge.Reason,
        merge.Actor,
        merge.MergedAt,
        merge.CompletedAt,
        merge.MergedAt.AddDays(options.UndoDays),
        merge.ErasedAt,
        merge.UndoAskedAt is { } asked ? new(merge.UndoReason!, merge.UndoActor!, asked, merge.UndoneAt) : null,
        [.. merge.Receipts.OrderBy(r => r.Phase).ThenBy(r => r.Service, StringComparer.Ordinal).Select(r => new ReceiptView(r.Phase, r.Service, r.Counts, r.At))],
        merge.Missing,
        merge.Missing.Count > 0 ? (long)(now - (merge.UndoAskedAt ?? merge.MergedAt)).TotalSeconds : null,
        [.. merge.Receipts.Where(r => r.StayedCounts.Count > 0).OrderBy(r => r.Service, StringComparer.Ordinal).Select(r => new StayedView(r.Service, r.StayedCounts, r.Stayed))],
        merge.KeptEdits ?? [],
        merge.NotGivenBack ?? [],
        merge.CarriedConsents ?? [],
        merge.CarriedHolds ?? [],
        merge.UndoAskedAt is null ? [.. merge.Receipts.SelectMany(r => r.Blockers ?? []).Select(b => new BlockerView(b.Code, b.Source, b.CustomerIds))] : [],
        ManifestFields.Shown(merge.Manifest.RootElement));
}

public sealed record MergeUndoView(string Reason, string Actor, DateTimeOffset AskedAt, DateTimeOffset? UndoneAt);

/// <summary>What one service did.</summary>
/// <param name="Counts">Rows that changed their owner, by table.</param>
public sealed record ReceiptView(MergePhase Phase, string Service, IReadOnlyDictionary<string, long> Counts, DateTimeOffset At);

/// <param name="Counts">By type.</param>
/// <param name="Rows">The first thousand.</param>
public sealed record StayedView(string Service, IReadOnlyDictionary<string, long> Counts, IReadOnlyList<RowReference> Rows);

internal static class MergeReads
{
    public static async Task<MergeView> FindMergeAsync(this ContactsDb db, Guid id, MergeOptions options, TimeProvider clock, CancellationToken ct) =>
        MergeView.Of(
            await db.SeenMerges().AsNoTracking().Include(m => m.Receipts).AsSplitQuery().FirstOrDefaultAsync(m => m.Id == id, ct) ?? throw ProblemException.NotFound("merge"),
            options, clock.GetUtcNow());

    /// <summary>Those of which the caller sees every customer: the manifest has values of all.</summary>
    public static IQueryable<Merge> SeenMerges(this ContactsDb db) => db.SeenMerges(db.Merges);

    /// <summary>Those of them of which the caller sees every customer.</summary>
    public static IQueryable<Merge> SeenMerges(this ContactsDb db, IQueryable<Merge> merges) => CallerRights.Current.AllCustomers
        ? merges
        : merges.Where(m => db.Customers.Any(c => c.Id == m.SurvivorId) && db.Customers.Count(c => m.AbsorbedIds.Contains(c.Id)) == m.AbsorbedIds.Count);
}
