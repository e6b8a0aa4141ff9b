namespace Crm.Contracts.Events;

/// <summary>The whole interaction as it now is, without its text; a version that is not newer is dropped.</summary>
[EventName("interactions.interaction-logged.v1")]
public sealed record InteractionLogged(
    string Id,
    long Version,
    string CustomerId,
    string Channel,
    string Direction,
    DateTimeOffset StartedAt,
    DateTimeOffset? EndedAt,
    string? OriginCustomerId = null);
