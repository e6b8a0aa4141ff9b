using System.ComponentModel.DataAnnotations;

namespace Crm.CustomerCopy.Projections;

/// <summary>Section <c>Rebuilds</c>.</summary>
public sealed class RebuildOptions
{
    /// <summary>Rows of a page: what is asked of the owner at once, and stored in one transaction.</summary>
    [Range(1, RebuildsGrpc.MostRows)]
    public int PageRows { get; init; } = 500;

    /// <summary>Milliseconds between two pages at least; it is as long as the page took when that is longer, so that half of the time belongs to others.</summary>
    [Range(0, 60_000)]
    public int PauseMilliseconds { get; init; } = 20;
}
