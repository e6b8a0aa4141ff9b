using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;
using Crm.Hosting.Web;

namespace Crm.Contacts.Domain;

/// <summary>Who looks after a customer, from when until when. The one who began last is the present one.</summary>
internal sealed class AccountManager
{
    /// <summary>In the audit log.</summary>
    public const string RecordType = "account_manager";

    public required Guid Id { get; init; }
    public required Guid CustomerId { get; init; }

    /// <summary>Under whom it was recorded.</summary>
    public required Guid OriginCustomerId { get; init; }
    public required string Manager { get; init; }
    public required DateTimeOffset StartsAt { get; init; }

    /// <summary>From then on somebody else, or nobody; equal to the start of one who never began.</summary>
    public DateTimeOffset? EndsAt { get; private set; }
    public required string Actor { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public Customer Customer { get; private set; } = null!;
}

/// <summary>Who is to look after a customer.</summary>
public sealed record AccountManagerInput
{
    /// <summary>The member of staff, as the identity provider names them; null for nobody.</summary>
    [JsonRequired, Line(200)]
    public string? Manager { get; init; }

    /// <summary>From when on; now when left out.</summary>
    public DateTimeOffset? StartsAt { get; init; }
}

/// <summary>Hands all customers of one over to another.</summary>
public sealed record ReassignmentInput
{
    [Required, Line(200)]
    public string? From { get; init; }

    [Required, Line(200)]
    public string? To { get; init; }

    /// <summary>From when on; now when left out.</summary>
    public DateTimeOffset? StartsAt { get; init; }

    /// <summary>Only the customers of this department.</summary>
    [Slug]
    public string? Department { get; init; }

    /// <summary>Only customers of this tier.</summary>
    [Slug]
    public string? Tier { get; init; }
}
