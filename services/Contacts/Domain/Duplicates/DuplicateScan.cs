namespace Crm.Contacts.Domain.Duplicates;

public enum ScanMode
{
    /// <summary>All customers; estimates the parameters anew.</summary>
    Full,

    /// <summary>Customers that are new or changed since a scan last looked at them, against all.</summary>
    Changed,
}

public enum ScanStatus
{
    Queued,
    Running,
    Completed,

    /// <summary>Given up after several tries; the log has the reason.</summary>
    Failed,
}

/// <summary>A search for duplicates. What it has done is the worker's to write.</summary>
internal sealed class DuplicateScan
{
    public const string RecordType = "duplicate_scan";

    private DuplicateScan()
    {
    }

    public Guid Id { get; private set; }
    public ScanMode Mode { get; private set; }
    public ScanStatus Status { get; private set; }
    public string Actor { get; private set; } = "";
    public int Attempts { get; private set; }
    public long Records { get; private set; }
    public long Compared { get; private set; }
    public long Found { get; private set; }
    public long Merged { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset? StartedAt { get; private set; }
    public DateTimeOffset? FinishedAt { get; private set; }

    public static DuplicateScan Ask(ScanMode mode, string actor, DateTimeOffset now) => new() { Id = Guid.CreateVersion7(now), Mode = mode, Actor = actor, CreatedAt = now };
}
