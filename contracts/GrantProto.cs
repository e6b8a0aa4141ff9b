using Crm.Contracts.Events;
using Google.Protobuf.WellKnownTypes;

namespace Crm.Contracts;

/// <summary>Between the event of a grant and its proto.</summary>
public static class GrantProto
{
    public static Contacts.V1.Grant ToProto(this GrantChanged grant) => new()
    {
        Id = grant.Id,
        Version = grant.Version,
        Owner = grant.Owner,
        Department = grant.Department,
        CustomerId = grant.CustomerId ?? "",
        FieldGroup = grant.FieldGroup ?? "",
        Access = grant.Access,
        ExpiresAt = grant.ExpiresAt is { } at ? Timestamp.FromDateTimeOffset(at) : null,
    };

    public static GrantChanged ToEvent(this Contacts.V1.Grant proto) => new(
        proto.Id, proto.Version, proto.Owner, proto.Department, NullIfEmpty(proto.CustomerId), NullIfEmpty(proto.FieldGroup), proto.Access,
        proto.ExpiresAt?.ToDateTimeOffset(), Ended: false);

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
