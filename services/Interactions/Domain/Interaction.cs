using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Interactions.Domain;

public enum InteractionChannel
{
    Meeting,
    Call,
    Email,
    Online,
    Chat,
    Letter,
}

public enum InteractionDirection
{
    /// <summary>Customer to us.</summary>
    Inbound,

    /// <summary>Us to customer.</summary>
    Outbound,
}

/// <summary>One contact between a customer and an employee.</summary>
internal sealed class Interaction : IAggregate, IOwnedRow
{
    private Interaction()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public long EventSequence { get; set; }

    /// <summary>Whose it is now; a merge moves it.</summary>
    public Guid CustomerId { get; private set; }

    /// <summary>Under whom it was recorded.</summary>
    public Guid OriginCustomerId { get; private set; }

    public InteractionChannel Channel { get; private set; }
    public InteractionDirection Direction { get; private set; }
    public DateTimeOffset StartedAt { get; private set; }
    public DateTimeOffset? EndedAt { get; private set; }
    public string? TimeZone { get; private set; }
    public string? Employee { get; private set; }
    public List<string> Participants { get; private set; } = [];
    public string? Subject { get; private set; }
    public string? Body { get; private set; }
    public string? Source { get; private set; }
    public string? ExternalId { get; private set; }

    /// <summary>The key or user that recorded it first.</summary>
    public string RecordedBy { get; private set; } = "";

    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }

    /// <param name="externalId">Its id in the system that it comes from, if it comes from one.</param>
    public static Interaction Log(Guid customerId, InteractionInput input, ExternalId? externalId, string actor, DateTimeOffset now)
    {
        var interaction = new Interaction
        {
            Id = Guid.CreateVersion7(now),
            Source = externalId?.System,
            ExternalId = externalId?.Id,
            RecordedBy = actor,
            CreatedAt = now,
        };
        interaction.Take(customerId, input, now);
        return interaction;
    }

    /// <summary>Takes the new state whole; false when it is the old one.</summary>
    public bool Change(Guid customerId, InteractionInput input, DateTimeOffset now)
    {
        if (InteractionInput.Same(ToInput(), input with { CustomerId = Ids.Customer.Format(customerId) }))
        {
            return false;
        }

        Take(customerId, input, now);
        return true;
    }

    /// <summary>The writable fields as they are now: what a merge patch is applied to.</summary>
    public InteractionInput ToInput() => new()
    {
        CustomerId = Ids.Customer.Format(CustomerId),
        Channel = Channel,
        Direction = Direction,
        StartedAt = StartedAt,
        EndedAt = EndedAt,
        TimeZone = TimeZone,
        Employee = Employee,
        Participants = Participants,
        Subject = Subject,
        Body = Body,
    };

    public InteractionLogged Logged() => new(
        Ids.Interaction.Format(Id), Version, Ids.Customer.Format(CustomerId), Channel.ToWord(), Direction.ToWord(), StartedAt, EndedAt,
        Ids.Customer.Format(OriginCustomerId));

    private void Take(Guid customerId, InteractionInput input, DateTimeOffset now)
    {
        if (CustomerId != customerId)
        {
            (CustomerId, OriginCustomerId) = (customerId, customerId);
        }

        Channel = input.Channel!.Value;
        Direction = input.Direction!.Value;
        StartedAt = input.StartedAt!.Value;
        EndedAt = input.EndedAt;
        TimeZone = input.TimeZone;
        Employee = input.Employee;
        Participants = input.Participants ?? [];
        Subject = input.Subject;
        Body = input.Body;
        Version++;
        UpdatedAt = now;
    }
}
