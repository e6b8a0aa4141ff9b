using System.Net;
using Crm.Contacts.Domain.Merges;
using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Audit;
using Crm.Hosting.Data;

namespace Crm.Contacts.Domain;

public enum ConsentChannel
{
    Email,
    Phone,
    Sms,
    Post,
}

public enum ConsentState
{
    Granted,
    Denied,
    Withdrawn,
    Pending,

    /// <summary>A statement only: it says until when nothing is to be sent, and nothing about what is granted.</summary>
    Paused,
}

public enum LegalBasis
{
    Consent,
    Contract,
    LegalObligation,
    VitalInterests,
    PublicTask,
    LegitimateInterests,
}

/// <summary>One statement about consent; never changed, never removed.</summary>
internal sealed class Consent : IOwnedRow
{
    /// <summary>The source of what was said while the customer was merged with another one.</summary>
    public const string MergeUndoSource = "merge_undo";

    /// <summary>Whoever wants to hear nothing for longer withdraws.</summary>
    public static readonly TimeSpan LongestPause = TimeSpan.FromDays(731);

    public required Guid Id { get; init; }

    /// <summary>Whose it is now; a merge moves it.</summary>
    public required Guid CustomerId
    {
        get;
        init
        {
            field = value;
            OriginCustomerId = value;
        }
    }

    /// <summary>Under whom it was recorded; of a confirmation, for whom the confirmed one was. Set it after the customer.</summary>
    public Guid OriginCustomerId { get; init; }

    public required ConsentChannel Channel { get; init; }
    public required string Purpose { get; init; }
    public required ConsentState State { get; init; }

    /// <summary>Of a pause; one that is over when it is said ends a longer one.</summary>
    public DateTimeOffset? PausedUntil { get; init; }
    public required LegalBasis LegalBasis { get; init; }
    public required string Source { get; init; }
    public string? Wording { get; init; }
    public string? WordingVersion { get; init; }

    /// <summary>Where the person was when it was said.</summary>
    public IPAddress? Ip { get; init; }
    public ConsentEvidence? Evidence { get; init; }

    /// <summary>Of one that the undo of a merge entered: the survivor's, which has the proof.</summary>
    public Guid? CarriedFrom { get; init; }
    public required DateTimeOffset At { get; init; }
    public required string Actor { get; init; }
    public required DateTimeOffset RecordedAt { get; init; }

    /// <summary>The same as said by somebody who was one customer with this one; the proof stays where it is.</summary>
    public Consent CarryTo(Guid customer, string actor, DateTimeOffset now) => new()
    {
        Id = Guid.CreateVersion7(now),
        CustomerId = customer,
        Channel = Channel,
        Purpose = Purpose,
        State = State,
        PausedUntil = PausedUntil,
        LegalBasis = LegalBasis,
        Source = MergeUndoSource,
        CarriedFrom = Id,
        At = At,
        Actor = actor,
        RecordedAt = now,
    };
}

/// <summary>What proves a statement that came by a link of a mail.</summary>
/// <param name="MessageId">The mail, <c>msg_…</c>.</param>
/// <param name="TokenSha256">Of the link; the link itself is stored nowhere.</param>
/// <param name="ConfirmsId">The pending statement that this one confirms, <c>con_…</c>.</param>
public sealed record ConsentEvidence(string MessageId, string TokenSha256, string? ConfirmsId);

/// <summary>A pending consent that waits for the person's click in the own mailbox (double opt-in).</summary>
internal sealed class ConsentConfirmation
{
    /// <summary>How long the link confirms.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromDays(7);

    /// <summary>No second mail to the same customer for the same channel and purpose within this time.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromMinutes(1);

    /// <summary>Mails to the same customer for the same channel and purpose within a day.</summary>
    public const int MostADay = 3;

    /// <summary>Mails to one mailbox within a day, whoever is asked for whatever: nobody's can be flooded through us.</summary>
    public const int MostADayToMailbox = 10;

    public required Guid ConsentId { get; init; }
    public required Guid CustomerId { get; init; }
    public required ConsentChannel Channel { get; init; }
    public required string Purpose { get; init; }

    /// <summary>Where the mail goes, in lower case; null once the one whose mailbox it is was erased.</summary>
    public required string? Mailbox { get; init; }
    public required DateTimeOffset RequestedAt { get; init; }
    public required DateTimeOffset ExpiresAt { get; init; }
    public DateTimeOffset? ConfirmedAt { get; private set; }

    /// <summary>False when it was confirmed before or came too late.</summary>
    public bool Confirm(DateTimeOffset at)
    {
        if (ConfirmedAt is not null || at > ExpiresAt)
        {
            return false;
        }

        ConfirmedAt = at;
        return true;
    }
}

/// <summary>What holds now for one channel and purpose: the latest statement by its own time.</summary>
internal sealed class CurrentConsent : IAggregate
{
    private CurrentConsent()
    {
    }

    public Guid Id { get; private set; }
    public Guid CustomerId { get; private set; }
    public ConsentChannel Channel { get; private set; }
    public string Purpose { get; private set; } = "";

    /// <summary>Null when nothing is said: it had come with a merge that was undone, or only a pause was said.</summary>
    public ConsentState? State { get; private set; }
    public DateTimeOffset At { get; private set; }

    /// <summary>Nothing is sent before, whatever is granted.</summary>
    public DateTimeOffset? PausedUntil { get; private set; }

    /// <summary>When the pause was said.</summary>
    public DateTimeOffset? PausedAt { get; private set; }
    public long Version { get; private set; }
    public long EventSequence { get; set; }

    public static CurrentConsent Of(Consent first)
    {
        var current = new CurrentConsent { Id = Guid.CreateVersion7(first.RecordedAt), CustomerId = first.CustomerId, Channel = first.Channel, Purpose = first.Purpose, At = first.At };
        current.Take(first);
        return current;
    }

    /// <summary>False when something later had been said already.</summary>
    public bool Apply(Consent said)
    {
        if (said.State == ConsentState.Paused ? said.At < PausedAt : State is not null && said.At < At)
        {
            return false;
        }

        Take(said);
        return true;
    }

    /// <summary>What a merge or its undo makes of it; false when it is so already.</summary>
    public bool Become(ConsentReplay.Held? held, DateTimeOffset now)
    {
        if (State == held?.State && (held is null || At == held.At) && PausedUntil == held?.Pause?.Until && PausedAt == held?.Pause?.At)
        {
            return false;
        }

        (State, At, PausedUntil, PausedAt) = (held?.State, held?.At ?? now, held?.Pause?.Until, held?.Pause?.At);
        Version++;
        return true;
    }

    public static CurrentConsent Of(Guid customer, ConsentChannel channel, string purpose, ConsentReplay.Held held, DateTimeOffset now)
    {
        var current = new CurrentConsent { Id = Guid.CreateVersion7(now), CustomerId = customer, Channel = channel, Purpose = purpose };
        current.Become(held, now);
        return current;
    }

    public ConsentRecorded Recorded() => new(Ids.Customer.Format(CustomerId), Channel.ToWord(), Purpose, State?.ToWord() ?? ConsentRecorded.NothingSaid, Version, At, PausedUntil);

    private void Take(Consent said)
    {
        if (said.State == ConsentState.Paused)
        {
            (PausedUntil, PausedAt) = (said.PausedUntil, said.At);
        }
        else
        {
            (State, At) = (said.State, said.At);
        }

        Version++;
    }
}
