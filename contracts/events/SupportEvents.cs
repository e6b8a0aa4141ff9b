namespace Crm.Contracts.Events;

/// <summary>The whole case as it now is; a version that is not newer is dropped.</summary>
/// <param name="Type"><c>question</c>, <c>problem</c> or <c>complaint</c>.</param>
/// <param name="Status"><c>open</c>, <c>waiting</c> or <c>solved</c>.</param>
/// <param name="Change">What happened: <c>opened</c>, <c>changed</c>, <c>replied</c>, <c>assigned</c>, <c>solved</c> or <c>reopened</c>.</param>
[EventName("support.case-changed.v1")]
public sealed record CaseChanged(
    string Id,
    long Version,
    string CustomerId,
    string Type,
    string Subject,
    string Priority,
    string Queue,
    string Status,
    string Change,
    DateTimeOffset OpenedAt,
    DateTimeOffset? SolvedAt,
    string? OriginCustomerId = null);
