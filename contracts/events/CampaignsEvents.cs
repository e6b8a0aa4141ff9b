namespace Crm.Contracts.Events;

/// <summary>A campaign message was handed to the mail server, once.</summary>
/// <param name="AskedGroups">
/// The field groups that its segment asked about: that the customer was written to tells who may not see them something of it.
/// Null of a message that an older version sent.
/// </param>
[EventName("campaigns.message-sent.v1")]
public sealed record MessageSent(
    string Id,
    string CampaignId,
    string CampaignName,
    string CustomerId,
    string Channel,
    string Subject,
    DateTimeOffset SentAt,
    string? OriginCustomerId = null,
    IReadOnlyList<string>? AskedGroups = null);

/// <summary>
/// What a person said by a link of a mail, without login: the holder of the link is the owner of the mailbox. Contacts
/// enters it into the consent ledger.
/// </summary>
/// <param name="MessageId">The mail that carried the link.</param>
/// <param name="State"><c>withdrawn</c>, <c>paused</c>, or <c>granted</c> when a pending consent was confirmed.</param>
/// <param name="Source"><c>unsubscribe_link</c>, <c>preference_page</c> or <c>confirmation_link</c>.</param>
/// <param name="ConfirmsId">The pending statement that is confirmed, <c>con_…</c>; null otherwise.</param>
/// <param name="TokenSha256">Of the link, in hexadecimal: proves which link it was without being one.</param>
/// <param name="Ip">Where it came from.</param>
/// <param name="PausedUntil">With state <c>paused</c>.</param>
/// <param name="OriginCustomerId">Whom the mail was sent to; <paramref name="CustomerId"/> is for whom that one stood when it was said.</param>
[EventName("campaigns.consent-stated.v1")]
public sealed record ConsentStated(
    string MessageId,
    string CustomerId,
    string Channel,
    string Purpose,
    string State,
    string Source,
    string? ConfirmsId,
    string TokenSha256,
    string? Ip,
    DateTimeOffset At,
    DateTimeOffset? PausedUntil = null,
    string? OriginCustomerId = null);
