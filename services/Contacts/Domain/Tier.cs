using System.ComponentModel.DataAnnotations;
using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>How privileged a customer is, and what it is entitled to for it.</summary>
internal sealed class Tier : IAggregate
{
    /// <summary>Of whoever has no other one; it is always there, and no tier ever goes.</summary>
    public const string Standard = "standard";

    /// <summary>In the audit log.</summary>
    public const string RecordType = "tier";

    private Tier()
    {
    }

    public Guid Id { get; private set; }
    public string Name { get; private set; } = "";
    public long Version { get; private set; }
    public long EventSequence { get; set; }
    public int Rank { get; private set; }
    public bool PriorityQueue { get; private set; }
    public string? PriceList { get; private set; }
    public string? SlaPolicy { get; private set; }
    public int? ResponseMinutes { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public TierEntitlements Entitlements => new(PriorityQueue, PriceList, SlaPolicy, ResponseMinutes);

    public static Tier Define(string name, TierInput input, DateTimeOffset now)
    {
        var tier = new Tier { Id = Guid.CreateVersion7(now), Name = name, Rank = -1 };
        tier.Change(input, now);
        return tier;
    }

    /// <summary>Takes the new state whole; false when it is the old one.</summary>
    public bool Change(TierInput input, DateTimeOffset now)
    {
        var wanted = input.Entitlements ?? new EntitlementsInput();
        var entitlements = new TierEntitlements(wanted.PriorityQueue is true, wanted.PriceList, wanted.SlaPolicy, wanted.ResponseMinutes);
        if (Rank == input.Rank && Entitlements == entitlements)
        {
            return false;
        }

        Rank = input.Rank!.Value;
        (PriorityQueue, PriceList, SlaPolicy, ResponseMinutes) = entitlements;
        Version++;
        UpdatedAt = now;
        return true;
    }

    public TierChanged Changed() => new(Name, Version, Rank, Entitlements);
}

/// <summary>A tier, as it is to be from now on.</summary>
public sealed record TierInput
{
    /// <summary>The higher, the more privileged.</summary>
    [Required, Range(0, 1000)]
    public int? Rank { get; init; }

    /// <summary>Nothing when left out.</summary>
    public EntitlementsInput? Entitlements { get; init; }
}

/// <summary>What the services know how to grant.</summary>
public sealed record EntitlementsInput
{
    /// <summary>Cases that say neither their priority nor their queue get the priority <c>high</c>.</summary>
    public bool? PriorityQueue { get; init; }

    /// <summary>The price list that they buy by.</summary>
    [Slug]
    public string? PriceList { get; init; }

    /// <summary>The service level that they are promised.</summary>
    [Slug]
    public string? SlaPolicy { get; init; }

    /// <summary>Within how many minutes they are answered.</summary>
    [Range(1, 525_600)]
    public int? ResponseMinutes { get; init; }
}
