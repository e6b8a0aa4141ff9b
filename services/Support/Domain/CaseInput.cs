using Crm.Contracts;
using Crm.Hosting.Rights;
using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using Crm.Hosting.Web;

namespace Crm.Support.Domain;

/// <summary>The writable fields of a case: the body of create and upsert.</summary>
public sealed record CaseInput
{
    [Required]
    public string? CustomerId { get; init; }

    [Required]
    public CaseType? Type { get; init; }

    [Required, Line(500)]
    [FieldGroup(FieldGroups.Notes)]
    public string? Subject { get; init; }

    [Prose(20_000)]
    [FieldGroup(FieldGroups.Notes)]
    public string? Description { get; init; }

    /// <summary>Default <c>normal</c>; <c>high</c> of a complaint, and, when no queue is named either, of a customer whose tier is entitled to <c>priority_queue</c>.</summary>
    public CasePriority? Priority { get; init; }

    /// <summary>Whose work it is; default <c>general</c>.</summary>
    [Slug]
    public string? Queue { get; init; }

    internal CaseInput WithDefaults() => this with
    {
        Priority = Priority ?? (Type == CaseType.Complaint ? CasePriority.High : CasePriority.Normal),
        Queue = Queue ?? Case.DefaultQueue,
    };

    /// <summary>Names of the API fields in which the two differ.</summary>
    internal static IReadOnlyList<string> Differences(CaseInput before, CaseInput after)
    {
        var a = JsonSerializer.SerializeToElement(before.WithDefaults(), JsonDefaults.Options);
        var b = JsonSerializer.SerializeToElement(after.WithDefaults(), JsonDefaults.Options);
        return [.. a.EnumerateObject().Where(p => !JsonElement.DeepEquals(p.Value, b.GetProperty(p.Name))).Select(p => p.Name)];
    }
}
