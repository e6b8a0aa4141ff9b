using System.Text.Json;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;

namespace Crm.Contacts.Domain.Merges;

public enum MergeStatus
{
    /// <summary>Services are moving their rows.</summary>
    Running,
    Completed,

    /// <summary>Services are giving their rows back.</summary>
    Undoing,
    Undone,
}

public enum MergePhase
{
    Merge,
    Undo,
}

/// <summary>Records of one customer were made one: a protocol with the other services, until every receipt is in.</summary>
internal sealed class Merge : IAggregate
{
    /// <summary>Whose receipts it takes.</summary>
    public static readonly IReadOnlyList<string> Services = ["contacts", "interactions", "campaigns", "billing-sync", "support"];

    private Merge()
    {
    }

    public Guid Id { get; private set; }
    public long EventSequence { get; set; }
    public Guid SurvivorId { get; private set; }
    public List<Guid> AbsorbedIds { get; private set; } = [];
    public MergeStatus Status { get; private set; }
    public string Reason { get; private set; } = "";
    public string Actor { get; private set; } = "";
    public JsonDocument Manifest { get; private set; } = null!;
    public DateTimeOffset MergedAt { get; private set; }
    public DateTimeOffset? CompletedAt { get; private set; }
    public string? UndoReason { get; private set; }
    public string? UndoActor { get; private set; }
    public DateTimeOffset? UndoAskedAt { get; private set; }
    public DateTimeOffset? UndoneAt { get; private set; }

    /// <summary>Set when one of its customers was erased: it cannot be undone any more.</summary>
    public DateTimeOffset? ErasedAt { get; private set; }
    public List<KeptEdit>? KeptEdits { get; private set; }
    public List<CarriedConsent>? CarriedConsents { get; private set; }
    public List<CarriedHold>? CarriedHolds { get; private set; }
    public List<NotGivenBack>? NotGivenBack { get; private set; }
    public List<ServiceReceipt> Receipts { get; private set; } = [];

    /// <summary>Whose receipts of the present phase are not in.</summary>
    public IReadOnlyList<string> Missing
    {
        get
        {
            var phase = UndoAskedAt is null ? MergePhase.Merge : MergePhase.Undo;
            return [.. Services.Except(Receipts.Where(r => r.Phase == phase).Select(r => r.Service), StringComparer.Ordinal)];
        }
    }

    public static Merge Begin(Guid id, Guid survivor, IEnumerable<Guid> absorbed, string reason, string actor, JsonDocument manifest, DateTimeOffset now) => new()
    {
        Id = id,
        SurvivorId = survivor,
        AbsorbedIds = [.. absorbed],
        Status = MergeStatus.Running,
        Reason = reason,
        Actor = actor,
        Manifest = manifest,
        MergedAt = now,
    };

    /// <summary>False when that was asked before.</summary>
    public bool BeginUndo(string reason, string actor, IReadOnlyList<KeptEdit> keptEdits, DateTimeOffset now)
    {
        if (UndoAskedAt is not null)
        {
            return false;
        }

        Status = MergeStatus.Undoing;
        (UndoReason, UndoActor, UndoAskedAt) = (reason, actor, now);
        KeptEdits = [.. keptEdits];
        return true;
    }

    /// <summary>What the undo entered into the ledgers of the restored, and the holds that it set on them.</summary>
    public void Carry(IEnumerable<CarriedConsent> consents, IEnumerable<CarriedHold> holds) => (CarriedConsents, CarriedHolds) = ([.. consents], [.. holds]);

    /// <summary>What somebody else has by the time of the undo.</summary>
    public void KeepBack(IEnumerable<NotGivenBack> fields) => NotGivenBack = [.. fields];

    /// <summary>A receipt that is there already changes nothing.</summary>
    public void Take(ServiceReceipt receipt, DateTimeOffset now)
    {
        if (Receipts.Exists(r => r.Phase == receipt.Phase && r.Service == receipt.Service))
        {
            return;
        }

        Receipts.Add(receipt);
        if (Missing.Count > 0)
        {
            return;
        }

        if (Status == MergeStatus.Running)
        {
            (Status, CompletedAt) = (MergeStatus.Completed, now);
        }
        else if (Status == MergeStatus.Undoing)
        {
            (Status, UndoneAt) = (MergeStatus.Undone, now);
        }
    }
}

/// <summary>What one service did.</summary>
internal sealed class ServiceReceipt
{
    public Guid MergeId { get; init; }
    public required MergePhase Phase { get; init; }
    public required string Service { get; init; }
    public required Dictionary<string, long> Counts { get; init; }
    public required Dictionary<string, long> StayedCounts { get; init; }
    public required List<RowReference> Stayed { get; init; }
    public List<BlockerReference>? Blockers { get; init; }
    public required DateTimeOffset At { get; init; }
}

/// <summary>An edit made after the merge, which the undo leaves with the customer on whom it was made.</summary>
/// <param name="At">Of the last such edit.</param>
public sealed record KeptEdit(string CustomerId, IReadOnlyList<string> Fields, DateTimeOffset At);

/// <summary>What a customer had and does not get back by the undo: another one has the value by now.</summary>
/// <param name="Field"><c>external_ids</c>, or a unique field as <c>attributes.NAME</c>; the value is in the customer's history.</param>
public sealed record NotGivenBack(string CustomerId, string Field);

/// <summary>A refusal or pause said after the merge, which by the undo holds for a restored customer as well.</summary>
/// <param name="ConsentId">In the restored customer's ledger, <c>con_…</c>.</param>
/// <param name="CarriedFrom">The survivor's statement, <c>con_…</c>.</param>
public sealed record CarriedConsent(string CustomerId, string ConsentId, string CarriedFrom);

/// <summary>A legal hold set after the merge, which by the undo binds a restored customer as well.</summary>
/// <param name="HoldId">The restored customer's, <c>hld_…</c>.</param>
/// <param name="CarriedFrom">The survivor's, <c>hld_…</c>.</param>
public sealed record CarriedHold(string CustomerId, string HoldId, string CarriedFrom);

/// <summary>What was shown to whoever asked for a merge; its token stands for it, once.</summary>
internal sealed class MergePreview
{
    public required byte[] TokenHash { get; init; }
    public required Guid SurvivorId { get; init; }
    public required List<MemberVersion> Members { get; init; }
    public required Dictionary<string, Guid> Choices { get; init; }
    public required JsonDocument Manifest { get; init; }
    public required DateTimeOffset ExpiresAt { get; set; }
    public Guid? MergeId { get; set; }
}

internal sealed record MemberVersion(Guid Id, long Version);
