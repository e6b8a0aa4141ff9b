using Crm.Contacts.Domain.Matching;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Duplicates;

public enum DuplicateStatus
{
    Open,

    /// <summary>They were merged, here or by hand; after an undo of the merge they are ignored.</summary>
    Merged,

    /// <summary>They are two customers; never asked about again, under whatever ids they go on.</summary>
    Rejected,

    /// <summary>Left undecided; not asked about again either, but it can still be accepted or rejected.</summary>
    Ignored,
}

/// <summary>Two customers who may be one, and what was decided.</summary>
internal sealed class Duplicate
{
    public const string RecordType = "duplicate";

    private Duplicate()
    {
    }

    public Guid Id { get; private set; }
    public Guid LowId { get; private set; }
    public Guid HighId { get; private set; }
    public DuplicateStatus Status { get; private set; }
    public double Weight { get; private set; }
    public double Probability { get; private set; }
    public List<FieldEvidence> Fields { get; private set; } = [];
    public bool Unasked { get; private set; }
    public Guid ScanId { get; private set; }
    public DateTimeOffset FoundAt { get; private set; }
    public DateTimeOffset? DecidedAt { get; private set; }
    public string? DecidedBy { get; private set; }
    public string? Reason { get; private set; }
    public Guid? MergeId { get; private set; }

    /// <summary>False when that was decided before.</summary>
    /// <exception cref="RuleViolationException">They were merged.</exception>
    public bool Reject(string? reason, string actor, DateTimeOffset now)
    {
        if (Status == DuplicateStatus.Merged)
        {
            throw new RuleViolationException("The two were merged; undo the merge instead.");
        }

        return Decide(DuplicateStatus.Rejected, reason, actor, now);
    }

    /// <summary>False when it is ignored already.</summary>
    /// <exception cref="RuleViolationException">It was decided.</exception>
    public bool Ignore(string? reason, string actor, DateTimeOffset now)
    {
        if (Status is DuplicateStatus.Merged or DuplicateStatus.Rejected)
        {
            throw new RuleViolationException("This was decided before; it is not asked about again.");
        }

        return Decide(DuplicateStatus.Ignored, reason, actor, now);
    }

    /// <exception cref="RuleViolationException">It was decided before.</exception>
    public void Merge(Guid merge, string reason, string actor, DateTimeOffset now)
    {
        if (!Decide(DuplicateStatus.Merged, reason, actor, now))
        {
            throw new RuleViolationException("This was decided before.");
        }

        MergeId = merge;
    }

    /// <summary>The merge that decided it is undone: nobody is asked again, but it can be decided anew.</summary>
    public void TakeApart(string reason, string actor, DateTimeOffset now) =>
        (Status, MergeId, Reason, DecidedBy, DecidedAt) = (DuplicateStatus.Ignored, null, reason, actor, now);

    private bool Decide(DuplicateStatus status, string? reason, string actor, DateTimeOffset now)
    {
        if (Status == status || Status is not (DuplicateStatus.Open or DuplicateStatus.Ignored))
        {
            return false;
        }

        (Status, Reason, DecidedBy, DecidedAt) = (status, reason, actor, now);
        return true;
    }
}

/// <summary>One field's part in a score.</summary>
/// <param name="Level">How far it agreed, such as <c>exact</c>, <c>close</c>, <c>one_error</c> or <c>different</c>.</param>
/// <param name="Weight">In bits: positive speaks for one customer, negative for two.</param>
public sealed record FieldEvidence(MatchField Field, string Level, double Weight)
{
    internal static FieldEvidence Of(FieldWeight field) => new(field.Field, field.Level, Math.Round(field.Weight, 2));
}
