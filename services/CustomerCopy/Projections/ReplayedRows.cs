using Crm.Contracts.Events;
using Crm.Hosting.Data;
using Microsoft.EntityFrameworkCore;

namespace Crm.CustomerCopy.Projections;

/// <summary>Rows of this service that others have copies of, each told by the event that was published of it.</summary>
/// <param name="eventType">The event.</param>
/// <param name="table">Whose rows they are; not all of them need be told.</param>
public abstract class ReplayedRows(Type eventType, string table)
{
    public string Event { get; } = EventCatalog.Of(eventType).Name;

    public string Table => table;

    /// <summary>In the order of their ids.</summary>
    public abstract Task<IReadOnlyList<ReplayedRow>> ReadAsync(Guid after, int limit, CancellationToken ct);

    /// <summary>Those of them that there are.</summary>
    public abstract Task<IReadOnlyList<ReplayedRow>> ReadAsync(IReadOnlyList<Guid> ids, CancellationToken ct);

    /// <summary>Those of them that are there as well, and of which nothing can be told.</summary>
    public abstract Task<IReadOnlyList<Guid>> ReadUntoldAsync(IReadOnlyList<Guid> ids, CancellationToken ct);

    public static ReplayedRows Of<TRow>(IQueryable<TRow> rows, string table, Type eventType, Func<TRow, object> tell) where TRow : class, IAggregate =>
        new Queried<TRow>(rows, table, eventType, (page, _) => Task.FromResult<IReadOnlyList<ReplayedRow>>([.. page.Select(r => new ReplayedRow(r.Id, tell(r)))]), untold: null);

    /// <param name="tell">For rows whose event needs more than the row.</param>
    /// <param name="untold">Rows of which copies may be, though they cannot be told now.</param>
    public static ReplayedRows Of<TRow>(
        IQueryable<TRow> rows, string table, Type eventType, Func<IReadOnlyList<TRow>, CancellationToken, Task<IReadOnlyList<ReplayedRow>>> tell, IQueryable<TRow>? untold = null)
        where TRow : class, IAggregate => new Queried<TRow>(rows, table, eventType, tell, untold);

    private sealed class Queried<TRow>(
        IQueryable<TRow> rows, string table, Type eventType, Func<IReadOnlyList<TRow>, CancellationToken, Task<IReadOnlyList<ReplayedRow>>> tell, IQueryable<TRow>? untold)
        : ReplayedRows(eventType, table)
        where TRow : class, IAggregate
    {
        public override async Task<IReadOnlyList<Guid>> ReadUntoldAsync(IReadOnlyList<Guid> ids, CancellationToken ct)
        {
            List<Guid> wanted = [.. ids];
            return untold is null ? [] : await untold.Select(r => EF.Property<Guid>(r, "Id")).Where(id => wanted.Contains(id)).ToListAsync(ct);
        }

        public override async Task<IReadOnlyList<ReplayedRow>> ReadAsync(Guid after, int limit, CancellationToken ct) => await tell(
            await rows.AsNoTracking().Where(r => EF.Property<Guid>(r, "Id") > after).OrderBy(r => EF.Property<Guid>(r, "Id")).Take(limit).ToListAsync(ct), ct);

        public override async Task<IReadOnlyList<ReplayedRow>> ReadAsync(IReadOnlyList<Guid> ids, CancellationToken ct)
        {
            List<Guid> wanted = [.. ids];
            return await tell(await rows.AsNoTracking().Where(r => wanted.Contains(EF.Property<Guid>(r, "Id"))).ToListAsync(ct), ct);
        }
    }
}

/// <param name="AsOfNow">Not all that was published then was kept: some of the event is made of what is known now.</param>
public sealed record ReplayedRow(Guid Id, object Event, bool AsOfNow = false);
