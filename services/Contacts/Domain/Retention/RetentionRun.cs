using System.Globalization;
using Crm.Contracts;

namespace Crm.Contacts.Domain.Retention;

public enum RetentionStatus
{
    Running,
    Completed,

    /// <summary>The policy was changed meanwhile.</summary>
    Stopped,
}

public enum RetentionOutcome
{
    /// <summary>In a preview: would be erased.</summary>
    Due,
    Erased,

    /// <summary>Over its time, and kept all the same.</summary>
    Kept,
}

/// <summary>What a policy did, or would do, at a time. Each customer is counted once, whatever is killed.</summary>
internal sealed class RetentionRun
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "retention_run";

    private RetentionRun()
    {
    }

    public Guid Id { get; private set; }
    public Guid PolicyId { get; private set; }

    /// <summary>Another version of the policy stops the run.</summary>
    public long PolicyVersion { get; private set; }
    public bool Preview { get; private set; }
    public RetentionStatus Status { get; private set; }
    public string Actor { get; private set; } = "";
    public string PolicyName { get; private set; } = "";
    public List<string> Lifecycles { get; private set; } = [];

    /// <summary>Whoever was used then or later stays.</summary>
    public DateTimeOffset UnusedSince { get; private set; }
    public int EraseAtMost { get; private set; }
    public long Examined { get; private set; }
    public long Used { get; private set; }
    public long Due { get; private set; }
    public long Erased { get; private set; }
    public long Kept { get; private set; }

    /// <summary>Customers by reason; one may be kept for several.</summary>
    public Dictionary<string, long> KeptFor { get; private set; } = [];
    public bool LimitReached { get; private set; }

    /// <summary>Services that have not said whom they have to do with; they are asked again.</summary>
    public List<string> Missing { get; private set; } = [];

    /// <summary>How often the erasure of the next customer has failed for want of time.</summary>
    public int Attempts { get; private set; }

    public DateTimeOffset CursorAt { get; private set; }
    public Guid CursorId { get; private set; }
    public DateTimeOffset NextAt { get; private set; }
    public DateTimeOffset StartedAt { get; private set; }
    public DateTimeOffset? FinishedAt { get; private set; }

    /// <summary>No more may be erased.</summary>
    public bool IsFull => !Preview && Erased >= EraseAtMost;

    /// <summary>What its erasures say of their cause.</summary>
    public string Cause => string.Create(CultureInfo.InvariantCulture, $"Retention policy {PolicyName} ({Ids.RetentionRun.Format(Id)}): not used since {UnusedSince:yyyy-MM-dd}");

    public static RetentionRun Begin(RetentionPolicy policy, bool preview, string actor, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        PolicyId = policy.Id,
        PolicyVersion = policy.Version,
        Preview = preview,
        Status = RetentionStatus.Running,
        Actor = actor,
        PolicyName = policy.Name,
        Lifecycles = [.. policy.Lifecycles],
        UnusedSince = now.AddDays(-policy.UnusedForDays),
        EraseAtMost = policy.EraseAtMost,
        CursorAt = DateTimeOffset.UnixEpoch,
        NextAt = now,
        StartedAt = now,
    };

    /// <summary>Nobody else takes it until then.</summary>
    /// <param name="missing">Who has not answered.</param>
    public void Wait(DateTimeOffset until, IEnumerable<string> missing) => (NextAt, Missing) = (until, [.. missing]);

    /// <summary>The erasure of the next customer failed, and may not the next time.</summary>
    public void TryAgain(DateTimeOffset at)
    {
        Attempts++;
        NextAt = at;
    }

    /// <summary>A customer was looked at; the next one is the one behind.</summary>
    /// <param name="outcome">Null when it was used after all.</param>
    public void Count(DateTimeOffset updatedAt, Guid customer, RetentionOutcome? outcome, IReadOnlyCollection<string> reasons)
    {
        (CursorAt, CursorId, Attempts) = (updatedAt, customer, 0);
        Examined++;
        switch (outcome)
        {
            case null:
                Used++;
                break;
            case RetentionOutcome.Due:
                Due++;
                break;
            case RetentionOutcome.Erased:
                Erased++;
                break;
            default:
                Kept++;
                KeptFor = new(KeptFor.Concat(reasons.Select(r => KeyValuePair.Create(r, 1L))).GroupBy(r => r.Key, r => r.Value).Select(g => KeyValuePair.Create(g.Key, g.Sum())));
                break;
        }
    }

    public void Finish(RetentionStatus status, bool limitReached, DateTimeOffset now) =>
        (Status, LimitReached, Missing, FinishedAt) = (status, limitReached, [], now);
}

/// <summary>A customer who was over its time.</summary>
/// <param name="Reasons">Why it is kept: <c>legal_hold</c>, what a service has open, such as <c>open_case</c>, or <c>failed</c>: those of <c>RetentionRunView.KeptFor</c>.</param>
/// <param name="ErasureId">Of an erased one.</param>
internal sealed record RetentionResult(Guid RunId, Guid CustomerId, RetentionOutcome Outcome, List<string> Reasons, DateTimeOffset LastUsedAt, Guid? ErasureId);
