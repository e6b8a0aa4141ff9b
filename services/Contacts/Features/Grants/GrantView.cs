using Crm.Contacts.Domain;
using Crm.Contracts;

namespace Crm.Contacts.Features.Grants;

/// <summary>What a department lets another one do with its records.</summary>
/// <param name="CustomerId">With the scope <c>customer</c>.</param>
/// <param name="FieldGroup">With the scope <c>field_group</c>.</param>
/// <param name="EndedAt">Since when it does not hold any more.</param>
/// <param name="RevokedBy">Who ended it before its time.</param>
public sealed record GrantView(
    string Id,
    string OwnerDepartment,
    string GranteeDepartment,
    GrantScope Scope,
    string? CustomerId,
    string? FieldGroup,
    GrantAccess Access,
    GrantStatus Status,
    DateTimeOffset? ExpiresAt,
    string Reason,
    string GrantedBy,
    DateTimeOffset GrantedAt,
    DateTimeOffset? EndedAt,
    string? RevokedBy)
{
    internal static GrantView Of(Grant grant, DateTimeOffset now)
    {
        var status = grant.StatusAt(now);
        return new(
            Ids.Grant.Format(grant.Id), grant.OwnerDepartment, grant.GranteeDepartment, grant.Scope, Ids.Customer.Format(grant.CustomerId), grant.FieldGroup, grant.Access, status,
            grant.ExpiresAt, grant.Reason, grant.GrantedBy, grant.GrantedAt, status == GrantStatus.Expired ? grant.ExpiresAt : grant.EndedAt, grant.RevokedBy);
    }
}
