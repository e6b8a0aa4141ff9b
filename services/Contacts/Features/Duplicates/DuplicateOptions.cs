using System.ComponentModel.DataAnnotations;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>Section <c>Duplicates</c>.</summary>
public sealed class DuplicateOptions
{
    /// <summary>From which probability on a create is answered with <c>duplicate_suspected</c>.</summary>
    [Range(0.5, 1)]
    public double SuspectFrom { get; init; } = 0.8;

    /// <summary>From which probability on a scan puts a pair into the review queue.</summary>
    [Range(0.1, 1)]
    public double ReviewFrom { get; init; } = 0.5;

    /// <summary>
    /// From which probability on a scan merges a pair without asking, when nothing in it differs; never two with different
    /// ids in one external system. Null: never.
    /// </summary>
    [Range(0.9, 1)]
    public double? MergeFrom { get; init; }

    /// <summary>An e-mail address or phone number that more customers have proves nothing: a switchboard, a shared inbox.</summary>
    [Range(2, 200)]
    public int CustomersPerIdentifier { get; init; } = 20;

    /// <summary>How long customers that are new or changed wait for a scan that nobody asks for, in seconds. 0: for ever.</summary>
    [Range(0, 7 * 86_400)]
    public int ScanSeconds { get; init; } = 900;
}
