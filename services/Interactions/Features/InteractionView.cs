using System.Text.Json.Serialization;
using Crm.Contracts;
using Crm.Hosting.Rights;
using Crm.Hosting.Web;
using Crm.Interactions.Domain;

namespace Crm.Interactions.Features;

/// <summary>An interaction as the API shows it.</summary>
public sealed record InteractionView(
    string Id,
    string CustomerId,
    InteractionChannel Channel,
    InteractionDirection Direction,
    DateTimeOffset StartedAt,
    DateTimeOffset? EndedAt,
    string? TimeZone,
    string? Employee,
    [property: FieldGroup(FieldGroups.ContactDetails)] IReadOnlyList<string> Participants,
    [property: FieldGroup(FieldGroups.Notes)] string? Subject,
    [property: FieldGroup(FieldGroups.Notes)] string? Body,
    ExternalId? ExternalId,
    string RecordedBy,
    long Version,
    DateTimeOffset CreatedAt,
    DateTimeOffset UpdatedAt)
{
    /// <summary>What an upsert did: <c>created</c>, <c>updated</c> or <c>unchanged</c>; only there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UpsertResult? Result { get; init; }

    internal static InteractionView Of(Interaction interaction) => new(
        Ids.Interaction.Format(interaction.Id),
        Ids.Customer.Format(interaction.CustomerId),
        interaction.Channel,
        interaction.Direction,
        interaction.StartedAt,
        interaction.EndedAt,
        interaction.TimeZone,
        interaction.Employee,
        interaction.Participants,
        interaction.Subject,
        interaction.Body,
        interaction.Source is null ? null : new ExternalId(interaction.Source, interaction.ExternalId!),
        interaction.RecordedBy,
        interaction.Version,
        interaction.CreatedAt,
        interaction.UpdatedAt);
}
