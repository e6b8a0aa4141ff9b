using Crm.Contracts.Events;
using Crm.Hosting.Data;

namespace Crm.Contacts.Domain.Erasures;

public enum ErasureStatus
{
    /// <summary>Receipts of services are missing.</summary>
    Running,
    Completed,
}

/// <summary>A person was erased, here at once and in the other services as each hears of it.</summary>
internal sealed class Erasure : IAggregate
{
    private Erasure()
    {
    }

    public Guid Id { get; private set; }
    public long EventSequence { get; set; }
    public Guid CustomerId { get; private set; }

    /// <summary>With all who had been merged into the customer.</summary>
    public List<Guid> CustomerIds { get; private set; } = [];
    public ErasureStatus Status { get; private set; }
    public string Reason { get; private set; } = "";
    public string Actor { get; private set; } = "";
    public DateTimeOffset AskedAt { get; private set; }
    public DateTimeOffset? CompletedAt { get; private set; }
    public DateTimeOffset BackupsGoneBy { get; private set; }
    public List<SignedReceipt> Receipts { get; private set; } = [];

    /// <summary>Whose receipts are not in.</summary>
    public IReadOnlyList<string> Missing => [.. Merges.Merge.Services.Except(Receipts.Select(r => r.Service), StringComparer.Ordinal)];

    public static Erasure Begin(Guid customer, IEnumerable<Guid> customers, string reason, string actor, int backupDays, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer,
        CustomerIds = [.. customers],
        Status = ErasureStatus.Running,
        Reason = reason,
        Actor = actor,
        AskedAt = now,
        BackupsGoneBy = now.AddDays(backupDays),
    };

    /// <summary>A receipt that is there already changes nothing.</summary>
    public void Take(ErasureStatement statement, string signed, DateTimeOffset now)
    {
        if (Receipts.Exists(r => r.Service == statement.Service))
        {
            return;
        }

        Receipts.Add(new()
        {
            Service = statement.Service,
            Erased = new(statement.Erased),
            Kept = new(statement.Kept),
            Statement = signed,
            At = statement.At,
        });
        if (Missing.Count == 0)
        {
            (Status, CompletedAt) = (ErasureStatus.Completed, now);
        }
    }
}

/// <summary>What one service says it did.</summary>
internal sealed class SignedReceipt
{
    public Guid ErasureId { get; init; }
    public required string Service { get; init; }
    public required Dictionary<string, long> Erased { get; init; }
    public required Dictionary<string, long> Kept { get; init; }

    /// <summary>The JWS.</summary>
    public required string Statement { get; init; }
    public required DateTimeOffset At { get; init; }
}
