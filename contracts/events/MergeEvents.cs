namespace Crm.Contracts.Events;

/// <summary>
/// Records of one customer were merged: rows of the absorbed ones belong to the survivor from now on. Every service moves
/// its rows and answers with its <c>merge-applied</c> event.
/// </summary>
/// <param name="Customers">The snapshots of all of them, so that it does not matter which message arrives first.</param>
[EventName("contacts.customers-merged.v1")]
public sealed record CustomersMerged(
    string MergeId,
    string SurvivorId,
    IReadOnlyList<string> AbsorbedIds,
    IReadOnlyList<CustomerSnapshot> Customers,
    DateTimeOffset At);

/// <summary>
/// A merge was undone: rows recorded under the restored customers are theirs again, and those recorded afterwards stay
/// with the survivor.
/// </summary>
/// <param name="SurvivorId">Of the merge; may itself have been absorbed by another since.</param>
/// <param name="Customers">The snapshots of the restored ones, the survivor, and those that the survivor was absorbed by.</param>
/// <param name="Survivors">Whose rows stay although they were recorded for what was one customer then, and from when on.</param>
[EventName("contacts.merge-undone.v1")]
public sealed record MergeUndone(
    string MergeId,
    string SurvivorId,
    IReadOnlyList<string> RestoredIds,
    IReadOnlyList<CustomerSnapshot> Customers,
    IReadOnlyList<SurvivorSince> Survivors,
    DateTimeOffset At);

/// <summary>Since when rows recorded under this customer may have been meant for one that a merge had absorbed.</summary>
public sealed record SurvivorSince(string CustomerId, DateTimeOffset Since);

/// <summary>What one service did for a merge or its undo.</summary>
/// <param name="Phase"><c>merge</c> or <c>undo</c>.</param>
/// <param name="Counts">Rows that changed their owner, by table.</param>
/// <param name="StayedCounts">Of an undo: rows recorded since the merge that stay with the survivor, by type.</param>
/// <param name="Stayed">The first thousand of them.</param>
/// <param name="Blockers">Of a merge: what would have forbidden it and came when it had been asked for already; null of an undo, and from an older version.</param>
public sealed record MergeReceipt(
    string MergeId,
    string Phase,
    string Service,
    IReadOnlyDictionary<string, long> Counts,
    IReadOnlyDictionary<string, long> StayedCounts,
    IReadOnlyList<RowReference> Stayed,
    IReadOnlyList<BlockerReference>? Blockers = null);

/// <param name="Type">Such as <c>case</c>.</param>
/// <param name="Id">The public id.</param>
public sealed record RowReference(string Type, string Id);

/// <param name="Code">Of the problem that the merge would have been answered, such as <c>two_paying_accounts</c>.</param>
/// <param name="Source">The billing source.</param>
/// <param name="CustomerIds">Those of the merged customers whom it is about.</param>
public sealed record BlockerReference(string Code, string Source, IReadOnlyList<string> CustomerIds);

[EventName("interactions.merge-applied.v1")]
public sealed record InteractionsMergeApplied(MergeReceipt Receipt);

[EventName("campaigns.merge-applied.v1")]
public sealed record CampaignsMergeApplied(MergeReceipt Receipt);

[EventName("billing-sync.merge-applied.v1")]
public sealed record BillingSyncMergeApplied(MergeReceipt Receipt);

[EventName("support.merge-applied.v1")]
public sealed record SupportMergeApplied(MergeReceipt Receipt);
