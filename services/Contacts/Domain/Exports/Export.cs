namespace Crm.Contacts.Domain.Exports;

public enum ExportStatus
{
    /// <summary>Services have not answered.</summary>
    Running,
    Completed,
}

/// <summary>An archive of all that the services know of a person; made part by part, kept for some days.</summary>
internal sealed class Export
{
    private Export()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }

    /// <summary>With all who had been merged into the customer.</summary>
    public List<Guid> CustomerIds { get; private set; } = [];
    public ExportStatus Status { get; private set; }
    public string Actor { get; private set; } = "";
    public DateTimeOffset AskedAt { get; private set; }
    public DateTimeOffset? CompletedAt { get; private set; }

    /// <summary>From then on the archive is gone.</summary>
    public DateTimeOffset ExpiresAt { get; private set; }

    /// <summary>When the services that are missing are asked again.</summary>
    public DateTimeOffset NextAt { get; private set; }
    public List<ExportPart> Parts { get; private set; } = [];

    /// <summary>Whose part is not there.</summary>
    public IReadOnlyList<string> Missing => [.. Merges.Merge.Services.Except(Parts.Select(p => p.Service), StringComparer.Ordinal)];

    public static Export Ask(Guid customer, IEnumerable<Guid> customers, string actor, int keepDays, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer,
        CustomerIds = [.. customers],
        Actor = actor,
        AskedAt = now,
        ExpiresAt = now.AddDays(keepDays),
        NextAt = now,
    };

    public void Take(string service, Dictionary<string, long> counts, DateTimeOffset now)
    {
        Parts.Add(new() { Service = service, Counts = counts, At = now });
        if (Missing.Count == 0)
        {
            (Status, CompletedAt) = (ExportStatus.Completed, now);
        }
    }

    public void Wait(DateTimeOffset until) => NextAt = until;
}

/// <summary>What one service knows: rows by table.</summary>
internal sealed class ExportPart
{
    public Guid ExportId { get; init; }
    public required string Service { get; init; }
    public required Dictionary<string, long> Counts { get; init; }
    public required DateTimeOffset At { get; init; }
}
