namespace Crm.CustomerCopy.Projections;

/// <summary>Where a projection comes from: rows of one owner, in an order that does not change.</summary>
/// <param name="name">As the catalogue has it.</param>
public abstract class ProjectionSource(string name)
{
    public string Name => name;

    /// <summary>The deadline for one page: the transaction is open meanwhile, and the database ends one that says nothing for a minute.</summary>
    internal static DateTime Patience(TimeProvider clock) => (clock.GetUtcNow() + TimeSpan.FromSeconds(30)).UtcDateTime;

    /// <summary>
    /// Asks the owner for what comes next, and holds it against what is here. It writes and locks nothing: nobody waits for
    /// the answer of another service.
    /// </summary>
    /// <param name="after">Where the page before ended; empty for the first.</param>
    public abstract Task<ProjectionPage> ReadAsync(string after, int limit, CancellationToken ct);
}

/// <param name="End">Where the next one starts.</param>
/// <param name="Last">Nothing comes after it.</param>
/// <param name="Rows">That the owner gave.</param>
/// <param name="Estimate">Of all rows of the source; null when it is not known.</param>
/// <param name="StoreAsync">Makes the projection right as far as the page reaches, in the transaction at hand. Never over something newer.</param>
public sealed record ProjectionPage(string End, bool Last, int Rows, long? Estimate, Func<CancellationToken, Task<Repairs>> StoreAsync);

/// <param name="Repaired">Rows that were missing, older than the owner's, or of its version with something else in them.</param>
/// <param name="Removed">Rows that the owner does not have.</param>
public sealed record Repairs(int Repaired, int Removed);

/// <summary>A projection of this service.</summary>
/// <param name="Name">As in the catalogue, without the service.</param>
/// <param name="Sources">Those of the catalogue, for a scope with a database of its own.</param>
public sealed record ServiceProjection(string Name, Func<IServiceProvider, IReadOnlyList<ProjectionSource>> Sources);
