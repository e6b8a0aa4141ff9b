using Crm.Hosting.Audit;
using Crm.Hosting.Data;

namespace Crm.BillingSync.Domain;

/// <summary>Where a record comes from: a source system, and the record's id there.</summary>
public sealed record ExternalKey(string Source, string Id);

/// <summary>A record that a source system owns; each write replaces it whole.</summary>
internal abstract class SourceRecord
{
    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public string? Source { get; private set; }
    public string? ExternalId { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    public ExternalKey? ExternalKey => Source is not null ? new(Source, ExternalId!) : null;

    protected void Begin(ExternalKey? key, DateTimeOffset now)
    {
        Id = Guid.CreateVersion7(now);
        Source = key?.Source;
        ExternalId = key?.Id;
        CreatedAt = now;
        Advance(now);
    }

    protected void Advance(DateTimeOffset now)
    {
        Version++;
        UpdatedAt = now;
    }
}

/// <summary>A customer's order, invoice or payment; each version is told to the other services.</summary>
internal abstract class BillingRecord : SourceRecord, IAggregate, IOwnedRow
{
    /// <summary>Whose it is now; a merge moves it.</summary>
    public Guid CustomerId { get; private set; }

    /// <summary>Under whom it was recorded.</summary>
    public Guid OriginCustomerId { get; private set; }

    public long EventSequence { get; set; }

    protected void BelongTo(Guid customer)
    {
        if (CustomerId != customer)
        {
            (CustomerId, OriginCustomerId) = (customer, customer);
        }
    }

    /// <summary>The event that carries the whole record as it now is.</summary>
    public abstract object Recorded();
}
