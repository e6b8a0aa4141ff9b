using Crm.Contracts;
using Crm.Contracts.Events;
using Crm.Hosting.Data;

namespace Crm.Campaigns.Domain.Campaigns;

public enum MessageStatus
{
    Pending,
    Sending,
    Sent,
    Suppressed,
    Failed,
    Uncertain,
}

public enum MessageKind
{
    /// <summary>To a member of a campaign.</summary>
    Campaign,

    /// <summary>Asks one person to confirm a pending consent.</summary>
    Confirmation,
}

/// <summary>Why a message was suppressed, failed or is uncertain.</summary>
public enum MessageReason
{
    /// <summary>Suppressed: marketing by e-mail is not granted, or was before the mailbox's owner ended it.</summary>
    NoConsent,

    /// <summary>Suppressed: the customer wants to hear nothing until a later day.</summary>
    Paused,

    /// <summary>Suppressed: a complaint of the customer is open.</summary>
    OpenComplaint,

    /// <summary>Suppressed: no primary e-mail address that mail can be sent to.</summary>
    NoAddress,

    /// <summary>Suppressed: merged or erased since the launch.</summary>
    NotActive,

    /// <summary>Suppressed: another customer with the same address has this campaign's mail.</summary>
    DuplicateAddress,

    /// <summary>Suppressed: another record that was merged into the same customer has this campaign's mail.</summary>
    DuplicateCustomer,

    /// <summary>Suppressed: a confirmation that would come after its link's time.</summary>
    Expired,

    /// <summary>Failed: the mail server refused it for good.</summary>
    Refused,

    /// <summary>Failed: the mail server put it off for too long.</summary>
    DeferredTooLong,

    /// <summary>Failed: the template could not be rendered for this customer.</summary>
    NotRendered,

    /// <summary>Uncertain: the connection broke before the mail server's answer.</summary>
    NoAnswer,

    /// <summary>Uncertain: the sender died.</summary>
    SenderLost,
}

/// <summary>One row of the send ledger: what became of one member's message.</summary>
internal sealed class Message : IAggregate
{
    private Message()
    {
    }

    public Guid Id { get; private set; }

    /// <summary>Null for a confirmation.</summary>
    public Guid? CampaignId { get; private set; }
    public MessageKind Kind { get; private set; }

    /// <summary>Whose it is now; a merge moves it.</summary>
    public Guid CustomerId { get; private set; }

    /// <summary>Who was a member when the campaign was launched.</summary>
    public Guid OriginCustomerId { get; private set; }

    public MessageChannel Channel { get; private set; }
    public MessageStatus Status { get; private set; }
    public MessageReason? Reason { get; private set; }
    public int? SmtpCode { get; private set; }
    public int Attempts { get; private set; }
    public string? MessageDomain { get; private set; }
    public DateTimeOffset CreatedAt { get; private set; }
    public DateTimeOffset? SentAt { get; private set; }
    public DateTimeOffset? FinishedAt { get; private set; }
    public long EventSequence { get; set; }

    /// <summary>SHA-256 of the token of the link in the mail.</summary>
    public byte[]? LinkHash { get; private set; }
    public DateTimeOffset? LinkUsedAt { get; private set; }

    /// <summary>Of a confirmation: the pending statement.</summary>
    public Guid? ConfirmsId { get; private set; }
    public string? Purpose { get; private set; }

    /// <summary>Of a confirmation: the mailbox that it asks.</summary>
    public string? ToAddress { get; private set; }
    public string? Wording { get; private set; }
    public DateTimeOffset? ExpiresAt { get; private set; }

    /// <summary>The same for ever, so that a mail server's log can be searched for it; null before the first try.</summary>
    public string? InternetMessageId => MessageDomain is null ? null : InternetMessageIdOf(Id, MessageDomain);

    public static string InternetMessageIdOf(Guid id, string domain) => $"<{Ids.Message.Format(id)}@{domain}>";

    /// <summary>
    /// The server took it. Also when the lease had run out meanwhile and it counted as uncertain: who sent it
    /// knows better. False when that is recorded already.
    /// </summary>
    public bool MarkSent(DateTimeOffset now)
    {
        if (Status is not (MessageStatus.Sending or MessageStatus.Uncertain))
        {
            return false;
        }

        Status = MessageStatus.Sent;
        Reason = null;
        SentAt = now;
        FinishedAt = now;
        return true;
    }

    /// <summary>
    /// The person wants no more marketing. Every click counts, for what was granted a moment ago may not have come to this
    /// service yet, and a second withdrawal takes nothing away; the time of the last never goes back.
    /// </summary>
    /// <param name="grantedAt">Of the consent that holds as far as is known here, null when none does.</param>
    public void Unsubscribe(DateTimeOffset? grantedAt, DateTimeOffset now)
    {
        var at = EndOf(grantedAt, now);
        LinkUsedAt = LinkUsedAt > at ? LinkUsedAt : at;
    }

    /// <summary>When a click ends what was granted: later, although that may date itself ahead of this clock.</summary>
    public static DateTimeOffset EndOf(DateTimeOffset? grantedAt, DateTimeOffset now) => grantedAt is { } at && at >= now ? at.AddMicroseconds(1) : now;

    /// <summary>False when it is confirmed already, or too late.</summary>
    public bool Confirm(DateTimeOffset now)
    {
        if (LinkUsedAt is not null || now > ExpiresAt)
        {
            return false;
        }

        LinkUsedAt = now;
        return true;
    }

    /// <summary>What the holder of this message's link says.</summary>
    public ConsentStated Stated(string channel, string purpose, string state, string source, string? ip, DateTimeOffset at, DateTimeOffset? pausedUntil = null) => new(
        Ids.Message.Format(Id), Ids.Customer.Format(CustomerId), channel, purpose, state, source, Ids.Consent.Format(ConfirmsId),
        Convert.ToHexStringLower(LinkHash!), ip, at, pausedUntil, Ids.Customer.Format(OriginCustomerId));

    public MessageSent Sent(string campaignName, string subject, IReadOnlyList<string> askedGroups) => new(
        Ids.Message.Format(Id), Ids.Campaign.Format(CampaignId!.Value), campaignName, Ids.Customer.Format(CustomerId), Channel.ToWord(), subject, SentAt!.Value,
        Ids.Customer.Format(OriginCustomerId), askedGroups);
}
