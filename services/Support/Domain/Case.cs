using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;
using Crm.Hosting.Web;

namespace Crm.Support.Domain;

public enum CaseType
{
    Question,
    Problem,
    Complaint,
}

public enum CasePriority
{
    Low,
    Normal,
    High,
    Urgent,
}

public enum CaseStatus
{
    /// <summary>We have the next word.</summary>
    Open,

    /// <summary>The customer has the next word.</summary>
    Waiting,

    Solved,
}

public enum CaseChange
{
    Opened,
    Changed,
    Replied,
    Assigned,
    Solved,
    Reopened,
}

/// <summary>
/// Something that a customer wants from us, until it is solved. Every rule about what may happen to a case
/// is here, and whatever happens leaves an entry in its history.
/// </summary>
internal sealed class Case : IAggregate, IOwnedRow
{
    public const string DefaultQueue = "general";

    private Case()
    {
    }

    public Guid Id { get; private set; }
    public long Version { get; private set; }
    public long EventSequence { get; set; }
    public int HistoryCount { get; private set; }

    /// <summary>Whose it is now; a merge moves it.</summary>
    public Guid CustomerId { get; private set; }

    /// <summary>Under whom it was recorded.</summary>
    public Guid OriginCustomerId { get; private set; }

    public CaseType Type { get; private set; }
    public string Subject { get; private set; } = "";
    public string? Description { get; private set; }
    public CasePriority Priority { get; private set; }
    public string Queue { get; private set; } = "";
    public CaseStatus Status { get; private set; }
    public string? Assignee { get; private set; }
    public string? Resolution { get; private set; }
    public string? Source { get; private set; }
    public string? ExternalId { get; private set; }
    public DateTimeOffset OpenedAt { get; private set; }
    public DateTimeOffset UpdatedAt { get; private set; }
    public DateTimeOffset? SolvedAt { get; private set; }

    /// <summary>Those that were read with the case, and new ones.</summary>
    public List<CaseMessage> Messages { get; private set; } = [];

    /// <inheritdoc cref="Messages"/>
    public List<CaseHistoryEntry> History { get; private set; } = [];

    /// <param name="externalId">Its id in the system that it comes from, if it comes from one.</param>
    public static Case Open(Guid customerId, CaseInput input, ExternalId? externalId, Happening by)
    {
        var opened = new Case
        {
            Id = Guid.CreateVersion7(by.At),
            Status = CaseStatus.Open,
            Source = externalId?.System,
            ExternalId = externalId?.Id,
            OpenedAt = by.At,
        };
        opened.Take(customerId, input);
        opened.Record(CaseChange.Opened, null, by);
        return opened;
    }

    /// <summary>Takes the writable fields whole; false when they are the old ones.</summary>
    public bool Change(Guid customerId, CaseInput input, Happening by)
    {
        var changed = CaseInput.Differences(ToInput(), input with { CustomerId = Ids.Customer.Format(customerId) });
        if (changed.Count == 0)
        {
            return false;
        }

        Take(customerId, input);
        Record(CaseChange.Changed, string.Join(", ", changed), by);
        return true;
    }

    /// <summary>
    /// Whoever has been written to has the next word: an outbound message makes an open case wait for the
    /// customer, an inbound one opens a waiting case, and reopens a solved one.
    /// </summary>
    public CaseMessage Reply(MessageDirection direction, string body, string? author, Happening by)
    {
        var message = new CaseMessage(Guid.CreateVersion7(by.At), Id, direction, body, author, by.At, by.Actor);
        Messages.Add(message);
        var reopens = direction == MessageDirection.Inbound && Status == CaseStatus.Solved;
        if (Status != CaseStatus.Solved)
        {
            Status = direction == MessageDirection.Outbound ? CaseStatus.Waiting : CaseStatus.Open;
        }

        Record(CaseChange.Replied, direction.ToWord(), by);
        if (reopens)
        {
            BackToOpen();
            Record(CaseChange.Reopened, "The customer wrote again.", by, sameVersion: true);
        }

        return message;
    }

    /// <summary>False when it is theirs already.</summary>
    /// <exception cref="RuleViolationException">The case is solved.</exception>
    public bool Assign(string assignee, Happening by)
    {
        if (Status == CaseStatus.Solved)
        {
            throw new RuleViolationException("The case is solved; reopen it first.");
        }

        if (Assignee == assignee)
        {
            return false;
        }

        Assignee = assignee;
        Record(CaseChange.Assigned, assignee, by);
        return true;
    }

    /// <exception cref="RuleViolationException">The case is solved already.</exception>
    public void Solve(string resolution, Happening by)
    {
        if (Status == CaseStatus.Solved)
        {
            throw new RuleViolationException("The case is solved already.");
        }

        Status = CaseStatus.Solved;
        Resolution = resolution;
        SolvedAt = by.At;
        Record(CaseChange.Solved, resolution, by);
    }

    /// <exception cref="RuleViolationException">The case is not solved.</exception>
    public void Reopen(string reason, Happening by)
    {
        if (Status != CaseStatus.Solved)
        {
            throw new RuleViolationException($"Only a solved case is reopened; this one is {Status.ToWord()}.");
        }

        BackToOpen();
        Record(CaseChange.Reopened, reason, by);
    }

    /// <summary>The writable fields as they are now: what a merge patch is applied to.</summary>
    public CaseInput ToInput() => new()
    {
        CustomerId = Ids.Customer.Format(CustomerId),
        Type = Type,
        Subject = Subject,
        Description = Description,
        Priority = Priority,
        Queue = Queue,
    };

    /// <summary>The event of what happened last.</summary>
    public CaseChanged Changed() => new(
        Ids.Case.Format(Id), Version, Ids.Customer.Format(CustomerId), Type.ToWord(), Subject, Priority.ToWord(), Queue, Status.ToWord(), History[^1].Change.ToWord(),
        OpenedAt, SolvedAt, Ids.Customer.Format(OriginCustomerId));

    private void Take(Guid customerId, CaseInput input)
    {
        var fields = input.WithDefaults();
        if (CustomerId != customerId)
        {
            (CustomerId, OriginCustomerId) = (customerId, customerId);
        }

        Type = fields.Type!.Value;
        Subject = fields.Subject!;
        Description = fields.Description;
        Priority = fields.Priority!.Value;
        Queue = fields.Queue!;
    }

    private void BackToOpen()
    {
        Status = CaseStatus.Open;
        Resolution = null;
        SolvedAt = null;
    }

    private void Record(CaseChange change, string? detail, Happening by, bool sameVersion = false)
    {
        Version += sameVersion ? 0 : 1;
        UpdatedAt = by.At;
        History.Add(new CaseHistoryEntry(Id, ++HistoryCount, Version, change, Status, detail, by.At, by.Actor));
    }
}

/// <summary>Who did something, and when.</summary>
/// <param name="Actor">The key or user.</param>
internal sealed record Happening(string Actor, DateTimeOffset At);

/// <summary>One thing that happened to a case.</summary>
/// <param name="Number">Counts the case's entries.</param>
/// <param name="Version">The case's, once it had happened.</param>
/// <param name="Status">The case's, once it had happened.</param>
internal sealed record CaseHistoryEntry(
    Guid CaseId, int Number, long Version, CaseChange Change, CaseStatus Status, string? Detail, DateTimeOffset At, string Actor);

public enum MessageDirection
{
    /// <summary>Customer to us.</summary>
    Inbound,

    /// <summary>Us to customer.</summary>
    Outbound,
}

/// <summary>What was said about a case; never changed.</summary>
/// <param name="Author">Who wrote it: a name or an e-mail address.</param>
internal sealed record CaseMessage(
    Guid Id, Guid CaseId, MessageDirection Direction, string Body, string? Author, DateTimeOffset At, string Actor);
