using Crm.Gateway.Domain;
using Crm.Hosting.Rights;

namespace Crm.Gateway.Features;

/// <summary>A key as its administrators see it, without the secret.</summary>
/// <param name="Hint">The last four characters of the secret.</param>
/// <param name="Status"><c>active</c>, <c>expired</c> or <c>revoked</c>.</param>
/// <param name="LastUsedAt">Exact to a minute.</param>
/// <param name="RequestsPerMinute">Null: the installation's default.</param>
public record KeyView(
    string Id,
    string Name,
    string Hint,
    string Status,
    IReadOnlyList<string> Scopes,
    IReadOnlyList<string> Roles,
    IReadOnlyList<string> Departments,
    RowFilter? RowFilter,
    int? RequestsPerMinute,
    DateTimeOffset? ExpiresAt,
    string CreatedBy,
    DateTimeOffset CreatedAt,
    DateTimeOffset? LastUsedAt,
    DateTimeOffset? RevokedAt)
{
    internal static KeyView Of(ApiKey key, DateTimeOffset now) => new(
        key.PublicId, key.Name, key.Hint, StatusOf(key, now), key.Scopes, key.Roles, key.Departments, key.RowFilter,
        key.RequestsPerMinute, key.ExpiresAt, key.CreatedBy, key.CreatedAt, key.LastUsedAt, key.RevokedAt);

    internal static string StatusOf(ApiKey key, DateTimeOffset now) => key.RevokedAt is not null ? "revoked" : key.ExpiresAt <= now ? "expired" : "active";
}

/// <summary>The answer to the creation of a key: the only one with the secret.</summary>
public sealed record CreatedKey(
    string Id,
    string Key,
    string Name,
    string Hint,
    string Status,
    IReadOnlyList<string> Scopes,
    IReadOnlyList<string> Roles,
    IReadOnlyList<string> Departments,
    RowFilter? RowFilter,
    int? RequestsPerMinute,
    DateTimeOffset? ExpiresAt,
    string CreatedBy,
    DateTimeOffset CreatedAt);
