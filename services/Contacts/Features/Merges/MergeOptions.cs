using System.ComponentModel.DataAnnotations;
using Crm.Contacts.Domain;

namespace Crm.Contacts.Features.Merges;

/// <summary>Section <c>Merges</c>.</summary>
public sealed class MergeOptions
{
    /// <summary>How long a merge can be undone.</summary>
    [Range(90, 36_500)]
    public int UndoDays { get; init; } = 90;

    /// <summary>Records that came this way are believed less than all others where the survivor says nothing.</summary>
    public IReadOnlyList<SourceType> LeastTrustedSources { get; init; } = [SourceType.Import, SourceType.Campaign];
}
