using Crm.Hosting.Web;

namespace Crm.Contacts.Domain.Erasures;

/// <summary>Why a customer may not be erased, until it is lifted.</summary>
internal sealed class LegalHold
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "legal_hold";

    private LegalHold()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }
    public string Reason { get; private set; } = "";
    public string Actor { get; private set; } = "";
    public DateTimeOffset SetAt { get; private set; }
    public DateTimeOffset? LiftedAt { get; private set; }
    public string? LiftedBy { get; private set; }
    public string? LiftReason { get; private set; }

    /// <summary>Of one that the undo of a merge set: the survivor's, set while they were one customer.</summary>
    public Guid? CarriedFrom { get; private set; }

    public static LegalHold Set(Guid customer, string reason, string actor, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer,
        Reason = reason,
        Actor = actor,
        SetAt = now,
    };

    /// <summary>The same for somebody who was one customer with this one; each is lifted by itself.</summary>
    public LegalHold CarryTo(Guid customer, string actor, DateTimeOffset now)
    {
        var carried = Set(customer, Reason, actor, now);
        carried.CarriedFrom = Id;
        return carried;
    }

    /// <exception cref="RuleViolationException">It was lifted before.</exception>
    public void Lift(string reason, string actor, DateTimeOffset now)
    {
        if (LiftedAt is not null)
        {
            throw new RuleViolationException("The hold was lifted before.");
        }

        (LiftReason, LiftedBy, LiftedAt) = (reason, actor, now);
    }
}
