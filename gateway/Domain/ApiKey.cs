using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;

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

    /// <summary>Of what its administrators say of it; its use does not count.</summary>
    public long Version { get; private set; } = 1;
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

    /// <summary>What restricts a key beyond its scopes.</summary>
    public ApiKey Restricted(IEnumerable<string> roles, IEnumerable<string> departments, RowFilter? rows)
    {
        Roles = [.. roles.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        Departments = [.. departments.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        RowFilter = rows;
        return this;
    }

    /// <exception cref="RuleViolationException">It is revoked, or it comes from configuration.</exception>
    public void Change(
        string name, IEnumerable<string> scopes, int? requestsPerMinute, DateTimeOffset? expiresAt, IEnumerable<string> roles, IEnumerable<string> departments, RowFilter? rows)
    {
        if (RevokedAt is not null)
        {
            throw new RuleViolationException("The key is revoked, for ever; make another.");
        }

        if (CreatedBy == Bootstrap)
        {
            throw new RuleViolationException("The administrator's key comes from the configuration and is changed there.");
        }

        Name = name;
        Scopes = [.. scopes.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        RequestsPerMinute = requestsPerMinute;
        ExpiresAt = expiresAt;
        Restricted(roles, departments, rows);
    }

    /// <summary>It was changed.</summary>
    public void Advance() => Version++;

    /// <summary>For ever; the first revocation stands.</summary>
    public void Revoke(DateTimeOffset now)
    {
        if (RevokedAt is null)
        {
            RevokedAt = now;
            Advance();
        }
    }

    /// <summary>The configured administrator may do everything that this build knows.</summary>
    public void GrantAll(int requestsPerMinute)
    {
        Scopes = [.. Contracts.Scopes.All.Order(StringComparer.Ordinal)];
        RequestsPerMinute = requestsPerMinute;
    }
}
