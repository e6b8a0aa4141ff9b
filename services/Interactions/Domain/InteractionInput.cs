using Crm.Contracts;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Hosting.Web;

namespace Crm.Interactions.Domain;

/// <summary>The writable fields of an interaction: the body of create and upsert, and what a merge patch is applied to.</summary>
public sealed record InteractionInput : IValidatableObject
{
    private const int LongestName = 254;

    [Required]
    public string? CustomerId { get; init; }

    [Required]
    public InteractionChannel? Channel { get; init; }

    /// <summary><c>inbound</c> is customer to us.</summary>
    [Required]
    public InteractionDirection? Direction { get; init; }

    [Required]
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>Not before <c>started_at</c>.</summary>
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>IANA name of the zone that it was planned or held in, such as <c>Europe/London</c>.</summary>
    [Line(64)]
    public string? TimeZone { get; init; }

    /// <summary>Who of ours it was with: an e-mail address or a name.</summary>
    [Line(LongestName)]
    public string? Employee { get; init; }

    /// <summary>Who else took part: e-mail addresses or names.</summary>
    [AtMost(100)]
    [FieldGroup(FieldGroups.ContactDetails)]
    public List<string>? Participants { get; init; }

    [Line(500)]
    [FieldGroup(FieldGroups.Notes)]
    public string? Subject { get; init; }

    [Prose(100_000)]
    [FieldGroup(FieldGroups.Notes)]
    public string? Body { get; init; }

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (EndedAt < StartedAt)
        {
            yield return new("out_of_range|It ended before it started.", [nameof(EndedAt)]);
        }

        if (TimeZone is not null && !(TimeZoneInfo.TryFindSystemTimeZoneById(TimeZone, out var zone) && zone.HasIanaId))
        {
            yield return new("unknown_value|Not an IANA time zone.", [nameof(TimeZone)]);
        }

        foreach (var (participant, index) in (Participants ?? []).Select((p, i) => ((string?)p, i)))
        {
            if (string.IsNullOrWhiteSpace(participant) || participant.Length > LongestName || participant.Any(char.IsControl))
            {
                yield return new($"bad_text|A participant is one line of 1 to {LongestName} characters.", [$"{nameof(Participants)}[{index}]"]);
            }
        }
    }

    internal static bool Same(InteractionInput before, InteractionInput after) => JsonElement.DeepEquals(Element(before), Element(after));

    private static JsonElement Element(InteractionInput input) =>
        JsonSerializer.SerializeToElement(input with { Participants = input.Participants ?? [] }, JsonDefaults.Options);
}
