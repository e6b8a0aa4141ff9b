using System.Text.Json.Serialization;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Support.Domain;

namespace Crm.Support.Features;

/// <summary>A case as lists and writes show it.</summary>
public record CaseView(
    string Id,
    string CustomerId,
    CaseType Type,
    [property: FieldGroup(FieldGroups.Notes)] string Subject,
    [property: FieldGroup(FieldGroups.Notes)] string? Description,
    CasePriority Priority,
    string Queue,
    CaseStatus Status,
    string? Assignee,
    [property: FieldGroup(FieldGroups.Notes)] string? Resolution,
    ExternalId? ExternalId,
    long Version,
    DateTimeOffset OpenedAt,
    DateTimeOffset UpdatedAt,
    DateTimeOffset? SolvedAt)
{
    /// <summary>What an upsert did: <c>created</c>, <c>updated</c> or <c>unchanged</c>; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static CaseView Of(Case it) => new(
        Ids.Case.Format(it.Id),
        Ids.Customer.Format(it.CustomerId),
        it.Type,
        it.Subject,
        it.Description,
        it.Priority,
        it.Queue,
        it.Status,
        it.Assignee,
        it.Resolution,
        it.Source is null ? null : new ExternalId(it.Source, it.ExternalId!),
        it.Version,
        it.OpenedAt,
        it.UpdatedAt,
        it.SolvedAt);
}

/// <summary>A case with what was said and what happened, both in the order of time.</summary>
public sealed record WholeCaseView : CaseView
{
    internal WholeCaseView(CaseView it)
        : base(it)
    {
    }

    /// <summary>The latest hundred.</summary>
    public required IReadOnlyList<MessageView> Messages { get; init; }

    /// <summary>Older ones are at <c>/v1/cases/{id}/messages</c>.</summary>
    public required bool HasMoreMessages { get; init; }

    public required IReadOnlyList<HistoryView> History { get; init; }
}

/// <summary>One message of a case.</summary>
/// <param name="Actor">The key or user that recorded it.</param>
public sealed record MessageView(string Id, string CaseId, MessageDirection Direction, [property: FieldGroup(FieldGroups.Notes)] string Body, [property: FieldGroup(FieldGroups.ContactDetails)] string? Author, DateTimeOffset At, string Actor)
{
    internal static MessageView Of(CaseMessage message) => new(
        Ids.CaseMessage.Format(message.Id), Ids.Case.Format(message.CaseId), message.Direction, message.Body, message.Author, message.At, message.Actor);
}

/// <summary>One thing that happened to a case.</summary>
/// <param name="Status">The case's, once it had happened.</param>
/// <param name="Detail">The names of the changed fields, the direction of the message, the assignee, the resolution or the reason.</param>
public sealed record HistoryView(DateTimeOffset At, string Actor, CaseChange Change, CaseStatus Status, [property: FieldGroup(FieldGroups.Notes)] string? Detail, long Version)
{
    internal static HistoryView Of(CaseHistoryEntry entry) => new(entry.At, entry.Actor, entry.Change, entry.Status, entry.Detail, entry.Version);
}
