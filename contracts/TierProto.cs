using Crm.Contracts.Events;

namespace Crm.Contracts;

/// <summary>A tier is the same in events and over gRPC; this is the one translation.</summary>
public static class TierProto
{
    public static Contacts.V1.Tier ToProto(this TierChanged tier) => new()
    {
        Name = tier.Tier,
        Version = tier.Version,
        Rank = tier.Rank,
        Entitlements = tier.Entitlements.ToProto(),
    };

    public static TierChanged ToEvent(this Contacts.V1.Tier proto) => new(proto.Name, proto.Version, proto.Rank, proto.Entitlements.ToEntitlements());

    public static Contacts.V1.Entitlements ToProto(this TierEntitlements entitlements) => new()
    {
        PriorityQueue = entitlements.PriorityQueue,
        PriceList = entitlements.PriceList ?? "",
        SlaPolicy = entitlements.SlaPolicy ?? "",
        ResponseMinutes = entitlements.ResponseMinutes ?? 0,
    };

    public static TierEntitlements ToEntitlements(this Contacts.V1.Entitlements proto) => new(
        proto.PriorityQueue,
        proto.PriceList.Length == 0 ? null : proto.PriceList,
        proto.SlaPolicy.Length == 0 ? null : proto.SlaPolicy,
        proto.ResponseMinutes == 0 ? null : proto.ResponseMinutes);
}
