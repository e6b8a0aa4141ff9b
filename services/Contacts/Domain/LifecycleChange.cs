namespace Crm.Contacts.Domain;

/// <summary>Why a customer's lifecycle became what it is.</summary>
public enum LifecycleCause
{
    /// <summary>The customer was created so.</summary>
    Created,

    /// <summary>Somebody said so.</summary>
    Edited,

    /// <summary>By rule: the customer bought.</summary>
    Order,

    /// <summary>By rule: the customer has bought, but not for a long time.</summary>
    NoOrder,

    /// <summary>Chosen at a merge.</summary>
    Merge,
}

/// <summary>
/// One step of a customer's lifecycle. What holds is the latest step that is not void, over all whom the customer has
/// absorbed; so a merge loses nothing, and its undo takes with each customer the steps that are its own.
/// </summary>
internal sealed class LifecycleChange
{
    private LifecycleChange()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }

    /// <summary>Under whom it was recorded; of a step by rule the customer of its order.</summary>
    public Guid OriginCustomerId { get; private set; }

    /// <summary>Null when the customer was created.</summary>
    public Lifecycle? FromState { get; private set; }
    public Lifecycle ToState { get; private set; }
    public LifecycleCause Cause { get; private set; }
    public string Actor { get; private set; } = "";
    public DateTimeOffset At { get; private set; }

    /// <summary>Of a step by rule: the order that made it, or the last one before the silence.</summary>
    public Guid? OrderId { get; private set; }
    public Guid? MergeId { get; private set; }

    /// <summary>Since when its order or merge is undone.</summary>
    public DateTimeOffset? VoidedAt { get; private set; }

    /// <summary>To the state that the customer is in.</summary>
    public static LifecycleChange To(
        Customer customer, Lifecycle? from, LifecycleCause cause, string actor, DateTimeOffset now, PlacedOrder? order = null, Guid? mergeId = null) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer.Id,
        OriginCustomerId = order?.OriginCustomerId ?? customer.Id,
        FromState = from,
        ToState = customer.Lifecycle,
        Cause = cause,
        Actor = actor,
        At = now,
        OrderId = order?.Id,
        MergeId = mergeId,
    };
}

/// <summary>An order as BillingSync has told it, as much as the lifecycle and the account managers need.</summary>
internal sealed class PlacedOrder
{
    public required Guid Id { get; init; }
    public required long Version { get; init; }
    public required Guid CustomerId { get; init; }
    public required Guid OriginCustomerId { get; init; }
    public required DateTimeOffset PlacedAt { get; init; }

    /// <summary>Neither cancelled nor returned.</summary>
    public required bool Counts { get; init; }

    /// <summary>Minor units; null of an order that was told before amounts were kept.</summary>
    public long? TotalMinor { get; init; }
    public string? Currency { get; init; }
}

/// <summary>What orders make of a lifecycle.</summary>
internal static class LifecycleRule
{
    /// <summary>When somebody said so; null of a step that a rule made.</summary>
    public static DateTimeOffset? SaidAt(LifecycleCause? cause, DateTimeOffset? at) => cause is LifecycleCause.Edited or LifecycleCause.Merge ? at : null;

    /// <summary>
    /// Who buys is an active buyer, or won back after having lapsed or left; who bought only before
    /// <paramref name="lapsedBefore"/> has lapsed. What somebody said after the last order stands.
    /// </summary>
    /// <param name="saidAt">When somebody said the present state; null when nobody did.</param>
    public static Lifecycle Next(Lifecycle present, DateTimeOffset? saidAt, DateTimeOffset lastOrder, DateTimeOffset lapsedBefore)
    {
        var recent = lastOrder >= lapsedBefore;
        return present switch
        {
            _ when lastOrder < saidAt => present,
            Lifecycle.Prospect or Lifecycle.Enquiry => recent ? Lifecycle.ActiveBuyer : Lifecycle.Lapsed,
            Lifecycle.Lapsed or Lifecycle.Former when recent => Lifecycle.WonBack,
            _ => present,
        };
    }
}
