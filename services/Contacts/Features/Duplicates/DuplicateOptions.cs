using System.ComponentModel.DataAnnotations;

namespace Crm.Contacts.Features.Duplicates;

/// <summary>Section <c>Duplicates</c>.</summary>
public sealed class DuplicateOptions
{
    /// <summary>From which probability on a create is answered with <c>duplicate_suspected</c>.</summary>
    [Range(0.5, 1)]
    public double SuspectFrom { get; init; } = 0.8;

    /// <summary>An e-mail address or phone number that more customers have proves nothing: a switchboard, a shared inbox.</summary>
    [Range(2, 200)]
    public int CustomersPerIdentifier { get; init; } = 20;
}
