using System.ComponentModel.DataAnnotations;

namespace Crm.Gateway;

/// <summary>Section <c>Gateway</c>.</summary>
internal sealed class GatewayOptions
{
    /// <summary>The secret of the administrator's key; a mounted secret. None, none.</summary>
    public string? AdminKey { get; init; }

    [Range(1, 1_000_000)]
    public int AdminRequestsPerMinute { get; init; } = 100_000;

    /// <summary>For a key that has no limit of its own, and for users.</summary>
    [Range(1, 1_000_000)]
    public int RequestsPerMinute { get; init; } = 600;

    /// <summary>Requests without valid credentials, by client address and replica.</summary>
    [Range(1, 1_000_000)]
    public int AnonymousRequestsPerMinute { get; init; } = 600;

    /// <summary>
    /// Requests for the links of mails, by client address and replica. Mailbox providers press them for all their users from a
    /// few addresses, and few of them try again.
    /// </summary>
    [Range(1, 1_000_000)]
    public int LinkRequestsPerMinute { get; init; } = 6000;

    /// <summary>How long the overview waits for each service.</summary>
    public TimeSpan OverviewDeadline { get; init; } = TimeSpan.FromMilliseconds(800);

    /// <summary>Networks (CIDR) of proxies in front whose X-Forwarded-For and X-Forwarded-Proto are believed.</summary>
    public List<string> TrustedProxies { get; init; } = [];
}

/// <summary>Section <c>Oidc</c>.</summary>
internal sealed class OidcOptions
{
    public List<OidcIssuerOptions> Issuers { get; init; } = [];
}

/// <summary>One identity provider whose access tokens are accepted.</summary>
internal sealed class OidcIssuerOptions
{
    /// <summary>The issuer; its discovery document is under <c>/.well-known/openid-configuration</c>.</summary>
    [Required]
    public Uri Authority { get; init; } = null!;

    /// <summary>What <c>aud</c> must contain.</summary>
    [Required]
    public string Audience { get; init; } = null!;

    /// <summary>First part of the subject that services see, <c>oidc:&lt;sub&gt;</c>: users of two providers are never one.</summary>
    [RegularExpression("^(?!svc$|key)[a-z][a-z0-9-]{0,31}$")]
    public string Name { get; init; } = "oidc";

    public bool RequireHttps { get; init; } = true;

    public string RolesClaim { get; init; } = "roles";

    public string DepartmentsClaim { get; init; } = "departments";

    /// <summary>Scopes (blank-separated) that a role brings.</summary>
    public Dictionary<string, string> RoleScopes { get; init; } = [];
}
