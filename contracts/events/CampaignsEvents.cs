namespace Crm.Contracts.Events;

/// <summary>A campaign message was handed to the mail server, once.</summary>
[EventName("campaigns.message-sent.v1")]
public sealed record MessageSent(
    string Id,
    string CampaignId,
    string CampaignName,
    string CustomerId,
    string Channel,
    string Subject,
    DateTimeOffset SentAt);
