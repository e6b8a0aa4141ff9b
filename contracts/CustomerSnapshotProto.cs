using System.Text.Json;
using Crm.Contracts.Events;
using Google.Protobuf.WellKnownTypes;

namespace Crm.Contracts;

/// <summary>The identity snapshot is the same in events and over gRPC; this is the one translation.</summary>
public static class CustomerSnapshotProto
{
    public static Contacts.V1.CustomerSnapshot ToProto(this CustomerSnapshot snapshot) => new()
    {
        Id = snapshot.Id,
        Version = snapshot.Version,
        Kind = snapshot.Kind,
        DisplayName = snapshot.DisplayName,
        GivenName = snapshot.GivenName ?? "",
        FamilyName = snapshot.FamilyName ?? "",
        PrimaryEmail = snapshot.PrimaryEmail ?? "",
        Country = snapshot.Country ?? "",
        Locale = snapshot.Locale ?? "",
        TimeZone = snapshot.TimeZone ?? "",
        Lifecycle = snapshot.Lifecycle,
        Tier = snapshot.Tier,
        Department = snapshot.Department ?? "",
        AttributesJson = JsonSerializer.Serialize(snapshot.Attributes),
        State = snapshot.State,
        SurvivorId = snapshot.SurvivorId ?? "",
        CreatedAt = Timestamp.FromDateTimeOffset(snapshot.CreatedAt),
        UpdatedAt = Timestamp.FromDateTimeOffset(snapshot.UpdatedAt),
        Tags = { snapshot.Tags ?? [] },
    };

    public static CustomerSnapshot ToSnapshot(this Contacts.V1.CustomerSnapshot proto) => new(
        proto.Id,
        proto.Version,
        proto.Kind,
        proto.DisplayName,
        NullIfEmpty(proto.GivenName),
        NullIfEmpty(proto.FamilyName),
        NullIfEmpty(proto.PrimaryEmail),
        NullIfEmpty(proto.Country),
        NullIfEmpty(proto.Locale),
        NullIfEmpty(proto.TimeZone),
        proto.Lifecycle,
        proto.Tier,
        NullIfEmpty(proto.Department),
        // Empty for a caller who may not see them.
        proto.AttributesJson.Length == 0 ? [] : JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(proto.AttributesJson) ?? [],
        proto.State,
        NullIfEmpty(proto.SurvivorId),
        proto.CreatedAt.ToDateTimeOffset(),
        proto.UpdatedAt.ToDateTimeOffset(),
        [.. proto.Tags]);

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
