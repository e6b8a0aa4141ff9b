using Crm.Contracts;
using Crm.Hosting.Rights;

namespace Crm.Gateway.Domain;

/// <summary>A partner's key: what it may do, for how long, and who gave it.</summary>
internal sealed class ApiKey
{
    /// <summary>The creator of the key that comes from configuration.</summary>
    public const string Bootstrap = "bootstrap";

    private ApiKey()
    {
    }

    public Guid Id { get; private set; }
    public byte[] SecretHash { get; private set; } = [];
    public string Name { get; private set; } = "";
    public string Hint { get; private set; } = "";
    public List<string> Scopes { get; private set; } = [];

    /// <summary>Of the policy; with none the scopes alone say what the key may do.</summary>
    public List<string> Roles { get; private set; } = [];
    public List<string> Departments { get; private set; } = [];
    public RowFilter? RowFilter { get; private set; }
    public int? RequestsPerMinute { get; private set; }
    public DateTimeOffset? ExpiresAt { get; private set; }
    public string CreatedBy { get; private set; } = "";
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset? LastUsedAt { get; private set; }
    public DateTimeOffset? RevokedAt { get; private set; }
    public string? IdempotencyKey { get; private set; }

    public string PublicId => Ids.Key.Format(Id);

    public static ApiKey Create(
        KeySecret secret, string name, IEnumerable<string> scopes, int? requestsPerMinute, DateTimeOffset? expiresAt, string createdBy, DateTimeOffset now, string? idempotencyKey = null) => new()
        {
            Id = Guid.CreateVersion7(now),
            SecretHash = secret.Hash(),
            Name = name,
            Hint = secret.Hint,
            Scopes = [.. scopes.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)],
            RequestsPerMinute = requestsPerMinute,
            ExpiresAt = expiresAt,
            CreatedBy = createdBy,
            CreatedAt = now,
            IdempotencyKey = idempotencyKey,
        };

    /// <summary>What restricts a key beyond its scopes; set once.</summary>
    public ApiKey Restricted(IEnumerable<string> roles, IEnumerable<string> departments, RowFilter? rows)
    {
        Roles = [.. roles.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        Departments = [.. departments.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        RowFilter = rows;
        return this;
    }

    /// <summary>For ever; the first revocation stands.</summary>
    public void Revoke(DateTimeOffset now) => RevokedAt ??= now;

    /// <summary>The configured administrator may do everything that this build knows.</summary>
    public void GrantAll(int requestsPerMinute)
    {
        Scopes = [.. Contracts.Scopes.All.Order(StringComparer.Ordinal)];
        RequestsPerMinute = requestsPerMinute;
    }
}
