using System.Text.Json;

namespace Crm.CustomerCopy;

/// <summary>What this service knows of a customer; Contacts owns the truth.</summary>
public sealed class Customer
{
    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string Kind { get; private set; } = "";
    public string DisplayName { get; private set; } = "";
    public string? GivenName { get; private set; }
    public string? FamilyName { get; private set; }
    public string? PrimaryEmail { get; private set; }
    public string? Country { get; private set; }
    public string? Locale { get; private set; }
    public string? TimeZone { get; private set; }
    public string Lifecycle { get; private set; } = "";
    public string Tier { get; private set; } = "";
    public string? Department { get; private set; }
    public JsonDocument Attributes { get; private set; } = null!;
    public string State { get; private set; } = "";
    public Guid? SurvivorId { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }
    public List<string> Tags { get; private set; } = [];
}

/// <summary>What customers of a tier are entitled to; Contacts owns the truth.</summary>
public sealed class Tier
{
    public string Name { get; private set; } = "";
    public long Version { get; private set; }

    /// <summary>The higher, the more privileged.</summary>
    public int Rank { get; private set; }

    /// <summary>Cases that say neither their priority nor their queue go first.</summary>
    public bool PriorityQueue { get; private set; }
    public string? PriceList { get; private set; }
    public string? SlaPolicy { get; private set; }

    /// <summary>Within how many minutes they are answered; null: nothing is promised.</summary>
    public int? ResponseMinutes { get; private set; }
}

/// <summary>What a department lets another one do with its records; Contacts owns the truth.</summary>
public sealed class Grant
{
    public Guid Id { get; private set; }
    public long Version { get; private set; }

    /// <summary>The department whose records they are.</summary>
    public string Owner { get; private set; } = "";

    /// <summary>The one that may.</summary>
    public string Department { get; private set; } = "";

    /// <summary>Null: all customers of the owner.</summary>
    public Guid? CustomerId { get; private set; }

    /// <summary>Null: the whole records. Fields of a group are granted in the records of Contacts only.</summary>
    public string? FieldGroup { get; private set; }
    public string Access { get; private set; } = "";
    public DateTimeOffset? ExpiresAt { get; private set; }
    public bool Ended { get; private set; }
}

/// <summary>The current consent of a customer for one channel and purpose.</summary>
public sealed class CustomerConsent
{
    public Guid CustomerId { get; private set; }
    public string Channel { get; private set; } = "";
    public string Purpose { get; private set; } = "";
    public string State { get; private set; } = "";
    public long Version { get; private set; }
    public DateTimeOffset At { get; private set; }

    /// <summary>Nothing is sent before, whatever the state.</summary>
    public DateTimeOffset? PausedUntil { get; private set; }
}
